"""An installation of the benchmark's own: a Postgres with the services' tables, and processes beside it."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx

from services.stack.postgres import EmbeddedPostgres, free_port
from shared.migrate import migrate
from shared.settings import SERVICES, Settings

KEY = "bench-key"
STARTS_WITHIN = 30.0  # seconds


class Serving(NamedTuple):
    """A process that answers HTTP: where, and its id."""

    url: str
    pid: int


@contextmanager
def installation() -> Iterator[Settings]:
    """A migrated database on a Postgres that is gone afterwards, as the settings of services over it.

    The caller's environment cannot lead elsewhere: every service's database address follows from the owner's.
    """
    directory = Path(tempfile.mkdtemp(prefix="attune-bench-"))
    postgres = EmbeddedPostgres(directory / "postgres", free_port(), "attune-bench")
    derived = {f"{service}_database_url": "" for service in SERVICES}
    try:
        postgres.start()
        own = {"database_url": postgres.url, "secret": "bench", "bootstrap_key": KEY, "log_level": "warning"}
        settings = Settings().model_copy(update=own | derived)
        migrate(settings)
        yield settings
    finally:
        postgres.stop()
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def service(name: str, settings: Settings) -> Iterator[Serving]:
    """One process of a service, as it is deployed but for its log, which keeps to warnings."""
    given = {name: value for name, value in os.environ.items() if not name.startswith("ATTUNE_")}
    passed = ("database_url", "secret", "bootstrap_key", "log_level")
    given |= {f"ATTUNE_{name.upper()}": str(getattr(settings, name)) for name in passed}
    port = free_port()
    with process(["-m", f"services.{name}", "serve"], port, {**given, "ATTUNE_PORT": str(port)}) as serving:
        yield serving


@contextmanager
def process(arguments: Sequence[str], port: int, environment: dict[str, str]) -> Iterator[Serving]:
    """A Python process that answers /readyz on `port`, ended afterwards. Raises `RuntimeError` when it never does."""
    running = subprocess.Popen([sys.executable, *arguments], env=environment)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(running, url)
        yield Serving(url, running.pid)
    finally:
        running.terminate()
        running.wait(30)


def _wait(running: "subprocess.Popen[bytes]", url: str) -> None:
    end = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < end and running.poll() is None:
        try:
            if httpx.get(f"{url}/readyz").is_success:
                return
        except httpx.TransportError:
            pass  # it does not listen yet
        time.sleep(0.1)
    raise RuntimeError(f"{url} did not start")


def cpu_seconds(pid: int) -> float:
    """The time that all threads of a process have spent on a core so far (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system = fields[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
