"""One supervised process: how it is started, when it answers, how it is stopped."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

LOG_LIMIT = 20 * 1024 * 1024  # bytes after which a log is set aside at the next start


@dataclass(frozen=True)
class Program:
    """What to run. `answers` says whether it is ready; `stop_signal` ends it gently, smaller turns first."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    answers: Callable[[], bool]
    stop_turn: int = 0
    stop_signal: signal.Signals = signal.SIGTERM
    stop_patience: float = 20.0
    user: str | None = None


@dataclass
class Process:
    """A program that was started, with the record of how often it died.

    Instants are those of `time.monotonic`: `away_since` it died, until it answers again; `ask_at` the next question.
    """

    program: Program
    popen: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_again_at: float | None = None
    deaths_in_a_row: int = 0
    answered: bool = False
    away_since: float | None = None
    ask_at: float = 0.0
    _log: IO[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        """Start it, its output appended to its log."""
        self._close_log()
        self._log = _opened(self.program.log)
        self.popen = subprocess.Popen(  # noqa: S603
            list(self.program.command),
            env=dict(self.program.environment),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches the supervisor alone, which stops all in order
            user=self.program.user,
            group=_group_of(self.program.user),
            extra_groups=[] if self.program.user else None,
            cwd="/" if self.program.user else None,
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 (the supervisor has one thread)
        )
        self.started_at = time.monotonic()
        self.start_again_at = None
        self.answered = False

    @property
    def alive(self) -> bool:
        return self.popen is not None and self.popen.poll() is None

    def how_it_ended(self) -> str:
        """In words: `killed by signal 9`, `ended with status 1`."""
        status = self.popen.returncode if self.popen else None
        if status is None:
            return "is not running"
        return f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"

    def ask_to_stop(self) -> None:
        if self.popen is not None and self.popen.poll() is None:
            self.popen.send_signal(self.program.stop_signal)

    def wait_until_stopped(self) -> bool:
        """Wait with the program's patience; past it, kill. Returns whether it ended by itself."""
        if self.popen is None:
            return True
        try:
            self.popen.wait(self.program.stop_patience)
            gently = True
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
            gently = False
        self._close_log()
        return gently

    def last_words(self) -> str:
        """The end of its log."""
        return last_lines(self.program.log, 8)

    def _close_log(self) -> None:
        if self._log is not None:
            self._log.close()
            self._log = None


def last_lines(path: Path, lines: int) -> str:
    """The last lines of a text file that may be large or not there."""
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - 16_384))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])


def _opened(path: Path) -> IO[bytes]:
    if path.exists() and path.stat().st_size > LOG_LIMIT:
        path.replace(path.with_suffix(".log.1"))
    return path.open("ab")


def _group_of(user: str | None) -> int | None:
    if user is None:
        return None
    import pwd

    return pwd.getpwnam(user).pw_gid


_libc = ctypes.CDLL(None) if sys.platform == "linux" else None
_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG


def _end_with_parent() -> None:
    """In the child, before it becomes the program: should the supervisor be killed, this process is interrupted too.

    Postgres takes the interrupt as a fast shutdown, uvicorn and the workers as a graceful one. A supervisor that a
    script started in its background ignores interrupts; its children must not inherit that.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if _libc is not None:
        _libc.prctl(_PARENT_DEATH_SIGNAL, signal.SIGINT)
