"""What one installation keeps on disk: its database, its secrets, its logs, and who is running it."""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ValidationError

from services.stack.trouble import Trouble

SECRETS = {"ATTUNE_SECRET": "secret", "ATTUNE_SERVICE_KEY": "service-key", "ATTUNE_BOOTSTRAP_KEY": "bootstrap-key"}


class Running(BaseModel):
    """What a running stack says of itself to other commands on this machine."""

    process: int
    addresses: dict[str, str]
    workers: dict[str, str]
    database_port: int | None
    ready: bool


def default_data_directory() -> Path:
    """Outside home directories for root, because Postgres then runs as a user who must reach it."""
    if os.geteuid() == 0:
        return Path("/var/lib/attune")
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "attune"


class DataDirectory:
    """Paths inside one data directory. Secrets are files that only their owner may read."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().resolve()
        self.postgres = self.path / "postgres"
        self.logs = self.path / "logs"
        self._running = self.path / "running.json"

    def prepare(self) -> None:
        """Create what is missing. Others may pass through to their own parts (Postgres), not list or read.

        Raises
        ------
        Trouble
            When the directory cannot be made or written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.path.chmod(0o711)
            self.logs.mkdir(exist_ok=True, mode=0o700)
        except OSError as error:
            raise Trouble(
                f"The data directory {self.path} cannot be used ({error.strerror}). Name another with --data-dir."
            ) from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory for one stack; the lock ends with the process, however it ends.

        Raises
        ------
        Trouble
            When another stack runs on it.
        """
        with (self.path / "lock").open("w", encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise Trouble(self._already_running()) from error
            try:
                yield
            finally:
                self._running.unlink(missing_ok=True)

    def secrets(self, environment: Mapping[str, str]) -> dict[str, str]:
        """The installation's secrets: from the environment where given, else generated once and kept here."""
        return {name: environment.get(name) or self._kept(name, file) for name, file in SECRETS.items()}

    def secret(self, name: str) -> str | None:
        """One kept secret by its variable's name; none where this directory does not hold it."""
        file = self.path / SECRETS[name]
        return file.read_text(encoding="utf-8").strip() if file.exists() else None

    def say_running(self, running: Running) -> None:
        """Tell other commands where this stack answers."""
        self._write(self._running, running.model_dump_json(indent=2) + "\n")

    def running(self) -> Running | None:
        """The stack running on this directory, if one is."""
        if not self._is_locked():
            return None
        try:
            return Running.model_validate(json.loads(self._running.read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, ValidationError):
            return None

    def _is_locked(self) -> bool:
        try:
            with (self.path / "lock").open("r", encoding="utf-8") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def _already_running(self) -> str:
        running = self.running()
        where = f" (process {running.process}: {', '.join(running.addresses.values())})" if running else ""
        return f"Attune is already running on {self.path}{where}. Stop it, or name another directory with --data-dir."

    def _kept(self, name: str, file: str) -> str:
        kept = self.secret(name)
        if kept:
            return kept
        made = secrets.token_urlsafe(32)
        self._write(self.path / file, made + "\n")
        return made

    def _write(self, path: Path, text: str) -> None:
        """Whole or not at all, and from its first byte readable by its owner only."""
        partial = path.with_suffix(".partial")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
