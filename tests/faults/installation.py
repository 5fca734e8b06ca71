"""An installation of separate processes that a test can kill: Postgres, services, workers."""

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from services.stack.postgres import EmbeddedPostgres, free_port
from services.stack.processes import Process, Program, last_lines
from shared.migrate import migrate
from shared.settings import SERVICES, Settings

KEY = "attune-faults-key"
ROOT = Path(__file__).resolve().parents[2]


class Installation:
    """Processes by name: `Postgres`, `audience`, `audience worker` and so on. What is not started is down."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.postgres = EmbeddedPostgres(directory / "postgres", free_port(), "attune-faults")
        self.ports = {name: free_port() for service in SERVICES for name in (service, f"{service} worker")}
        urls = {f"{service}_url": f"http://127.0.0.1:{self.ports[service]}" for service in SERVICES}
        self.settings = Settings(
            database_url=self.postgres.url, secret="attune-faults-secret", bootstrap_key=KEY,
            service_key="attune-faults-service-key", log_level="warning", **urls,
        )  # fmt: skip
        self._processes: dict[str, Process] = {}

    def prepare(self) -> None:
        """Postgres runs and is migrated."""
        self.postgres.prepare()
        self.start("Postgres")
        self.postgres.create_database()
        migrate(self.settings)

    def start(self, *names: str) -> None:
        """Start these and wait until they answer."""
        for name in names:
            self._processes[name] = Process(self._program(name))
            self._processes[name].start()
        for name in names:
            self.wait(name)

    def kill(self, name: str) -> None:
        """SIGKILL: the process, and for Postgres every process of the server."""
        popen = self._processes[name].popen
        assert popen is not None
        family = [popen.pid, *(child.pid for child in psutil.Process(popen.pid).children(recursive=True))]
        for pid in family:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        popen.wait()

    def revive(self, name: str) -> None:
        """Start again what was killed, and wait until it answers."""
        if name == "Postgres":
            self.postgres.prepare()
        self._processes[name].start()
        self.wait(name)

    def alive(self, name: str) -> bool:
        """Whether the process runs."""
        return self._processes[name].alive

    def wait(self, name: str, seconds: float = 60) -> None:
        process, end = self._processes[name], time.monotonic() + seconds
        while not process.program.answers():
            if time.monotonic() > end or not process.alive:
                raise RuntimeError(f"{name} does not answer:\n{process.last_words()}")
            time.sleep(0.05)

    def client(self, service: str) -> httpx.Client:
        return httpx.Client(
            base_url=self.settings.url_of(service), headers={"Authorization": f"Bearer {KEY}"}, timeout=30
        )

    def stop(self) -> None:
        for name in sorted(self._processes, key=lambda name: name == "Postgres"):
            self._processes[name].ask_to_stop()
            self._processes[name].wait_until_stopped()

    def log_of(self, name: str) -> str:
        return last_lines(self._processes[name].program.log, 40)

    def _program(self, name: str) -> Program:
        log = self.directory / f"{name.replace(' ', '-')}.log"
        if name == "Postgres":
            return self.postgres.program(log, os.environ)
        service, _, role = name.partition(" ")
        own = {
            "ATTUNE_SECRET": self.settings.secret,
            "ATTUNE_SERVICE_KEY": self.settings.service_key,
            "ATTUNE_BOOTSTRAP_KEY": KEY,
            "ATTUNE_LOG_LEVEL": "warning",
            "ATTUNE_PORT": str(self.ports[service]),
            "ATTUNE_WORKER_PORT": str(self.ports[f"{service} worker"]),
            f"ATTUNE_{service.upper()}_DATABASE_URL": self.settings.database_of(service),
            **{f"ATTUNE_{peer.upper()}_URL": self.settings.url_of(peer) for peer in SERVICES},
        }
        address = f"http://127.0.0.1:{self.ports[name]}/healthz"
        return Program(
            name=name,
            command=[sys.executable, "-m", f"services.{service}", role or "serve"],
            environment={**os.environ, "PYTHONPATH": str(ROOT), **own},
            log=log,
            answers=lambda: _answers(address),
        )


def _answers(address: str) -> bool:
    try:
        return httpx.get(address, timeout=2).is_success
    except httpx.TransportError:
        return False


@contextmanager
def installation() -> Iterator[Installation]:
    """A migrated Postgres on loopback, and nothing else yet."""
    directory = Path(tempfile.mkdtemp(prefix="attune-faults-"))
    directory.chmod(0o711)
    made = Installation(directory)
    try:
        made.prepare()
        yield made
    finally:
        made.stop()
        shutil.rmtree(directory, ignore_errors=True)
