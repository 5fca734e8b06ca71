"""What `attune up` runs, put together: Postgres, migrations, services, workers."""

import os
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

from services.stack.data_directory import DataDirectory, Running
from services.stack.ports import ports_of, refuse_taken
from services.stack.postgres import EmbeddedPostgres, owner_password
from services.stack.processes import Program
from services.stack.supervisor import TICK, Say, Stopping, Supervisor
from services.stack.trouble import Trouble
from shared.settings import SERVICES, Settings

CALLS: dict[str, tuple[str, ...]] = {
    "audience": (),
    "experiments": ("audience",),
    "feedback": ("audience", "experiments"),
}
ANSWERS_WITHIN = 60.0  # seconds a process may take until it answers, on a busy machine


@dataclass(frozen=True)
class Options:
    """How a stack is to run. `database_url` empty means: an embedded Postgres in the data directory."""

    directory: Path
    base: int
    host: str = "127.0.0.1"
    database_url: str = ""


class Stack:
    """One installation on one machine, for as long as `run` runs."""

    def __init__(self, options: Options, environment: Mapping[str, str], say: Say) -> None:
        self.options = options
        self.directory = DataDirectory(options.directory)
        self.ports = ports_of(options.base)
        self.supervisor = Supervisor(say)
        self._environment = dict(environment)
        self._say = say
        self.secrets: dict[str, str] = {}

    @property
    def addresses(self) -> dict[str, str]:
        """Where each service answers."""
        return {name: self._address(name) for name in SERVICES}

    @property
    def worker_addresses(self) -> dict[str, str]:
        """Where each worker answers /healthz and /metrics."""
        return {name: self._address(f"{name} worker") for name in SERVICES}

    def run(self, *, stopping: Stopping, ready: Callable[["Stack"], None]) -> None:
        """Start everything, call `ready` once the services answer, supervise until `stopping`, stop in order.

        Raises
        ------
        Trouble
            When the directory is in use, a port is taken, Postgres cannot be reached or a part does not start.
        """
        self.directory.prepare()
        with self.directory.locked():
            refuse_taken(self._ports_needed(), self.options.host)
            self.secrets = self.directory.secrets(self._environment)
            try:
                self._start(stopping, ready)
                while not stopping():
                    self.supervisor.tick()
                    time.sleep(TICK)
            finally:
                self._say("stopping")
                self.supervisor.stop()

    def _start(self, stopping: Stopping, ready: Callable[["Stack"], None]) -> None:
        """Services load their code while Postgres starts and is migrated; they connect when first asked."""
        postgres = self._embedded()
        database_url = postgres.url if postgres else self.options.database_url
        self.supervisor.start([self._service(name, "serve", database_url) for name in SERVICES])
        if postgres:
            postgres.prepare()
            self.supervisor.start([postgres.program(self.directory.logs / "postgres.log", self._environment)])
            self.supervisor.wait_until_answering("Postgres", within=ANSWERS_WITHIN, stopping=stopping)
        if not stopping():
            if postgres:
                postgres.create_database()
            migrate(self._settings(database_url))
            self.supervisor.wait_until_answering(within=ANSWERS_WITHIN, stopping=stopping)
            self._tell_others(postgres, ready=False)
        if not stopping():
            ready(self)
            self.supervisor.start([self._service(name, "worker", database_url) for name in SERVICES])
            self.supervisor.wait_until_answering(within=ANSWERS_WITHIN, stopping=stopping)
            self._tell_others(postgres, ready=True)
        if not stopping():
            self._say("workers are running")

    def _embedded(self) -> EmbeddedPostgres | None:
        """The embedded server, where the database is ours to run."""
        if self.options.database_url:
            return None
        password = owner_password(self.secrets["ATTUNE_SECRET"])
        return EmbeddedPostgres(self.directory.postgres, self.ports["Postgres"], password)

    def _ports_needed(self) -> dict[str, int]:
        return {name: port for name, port in self.ports.items() if name != "Postgres" or not self.options.database_url}

    def _settings(self, database_url: str) -> Settings:
        """Settings of the owner. Logins named by the environment belong to its database, not to an embedded one."""
        secret = self.secrets["ATTUNE_SECRET"]
        if self.options.database_url:
            return Settings(database_url=database_url, secret=secret)
        return Settings(
            database_url=database_url,
            secret=secret,
            audience_database_url="",
            experiments_database_url="",
            feedback_database_url="",
        )

    def _service(self, name: str, role: str, database_url: str) -> Program:
        """A service or its worker. It learns its secrets by environment, its own login to the database only, and only
        the addresses that it may call."""
        process = name if role == "serve" else f"{name} worker"
        answering = f"{self._address(process)}/{'readyz' if role == 'serve' else 'healthz'}"
        own = {
            **self.secrets,
            f"ATTUNE_{name.upper()}_DATABASE_URL": self._settings(database_url).database_of(name),
            **{f"ATTUNE_{peer.upper()}_URL": self.addresses[peer] for peer in CALLS[name]},
            "ATTUNE_HOST": self.options.host,
            "ATTUNE_PORT": str(self.ports[name]),
            "ATTUNE_WORKER_PORT": str(self.ports[f"{name} worker"]),
        }
        return Program(
            name=process,
            command=[sys.executable, "-m", f"services.{name}", role],
            environment=self._inherited() | own,
            log=self.directory.logs / f"{process.replace(' ', '-')}.log",
            answers=lambda: answers(answering),
            stop_turn=1 if role == "serve" else 0,
        )

    def _inherited(self) -> dict[str, str]:
        """The caller's environment without database logins that are not this process's business."""
        kept = {name: value for name, value in self._environment.items() if not name.endswith("DATABASE_URL")}
        root = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(part for part in (root, kept.get("PYTHONPATH", "")) if part)
        return {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"} | kept | {"PYTHONPATH": path}

    def _tell_others(self, postgres: EmbeddedPostgres | None, *, ready: bool) -> None:
        self.directory.say_running(
            Running(
                process=os.getpid(),
                addresses=self.addresses,
                workers=self.worker_addresses,
                database_port=postgres.port if postgres else None,
                ready=ready,
            )
        )

    def _address(self, process: str) -> str:
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.options.host, self.options.host)  # noqa: S104
        return f"http://{host}:{self.ports[process]}"


def migrate(settings: Settings) -> None:
    """Bring roles, schemas, tables and views up to date. Raises Trouble where the database cannot be reached."""
    from sqlalchemy.exc import OperationalError

    from shared import migrate as migrations

    try:
        for service in SERVICES:
            settings.database_of(service)
    except ValueError as error:
        raise Trouble(str(error)) from error
    try:
        migrations.migrate(settings)
    except OperationalError as error:
        raise Trouble(f"The database cannot be reached: {str(error.orig).strip()}") from error


def answers(url: str, *, within: float = 2.0) -> bool:
    """Whether a GET of `url` is answered with success."""
    try:
        with urllib.request.urlopen(url, timeout=within) as response:  # noqa: S310 (an address of our own)
            return bool(response.status == 200)
    except (URLError, OSError):
        return False
