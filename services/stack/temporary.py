"""A stack of one's own for the length of a command: started beside it, gone with it."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.stack.data_directory import DataDirectory
from services.stack.foreground import STOP_WITH_PARENT
from services.stack.ports import free_base
from services.stack.processes import last_lines
from services.stack.target import Target, running_target
from services.stack.trouble import Trouble

READY_WITHIN = 120.0
STOPS_WITHIN = 60.0


@contextmanager
def temporary_stack() -> Iterator[Target]:
    """Run `attune up` on free ports over an empty data directory, which is removed afterwards.

    Raises
    ------
    Trouble
        When it does not come up; with the end of its output.
    """
    directory = Path(tempfile.mkdtemp(prefix="attune-"))
    directory.chmod(0o711)
    output = directory / "up.log"
    try:
        with output.open("wb") as log:
            process = subprocess.Popen(  # noqa: S603
                [
                    sys.executable,
                    "-m",
                    "services.cli",
                    "up",
                    "--data-dir",
                    str(directory),
                    "--port-base",
                    str(free_base()),
                ],
                env=_environment(),
                cwd=Path(__file__).resolve().parents[2],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            _wait_until_ready(process, DataDirectory(directory), output)
            yield running_target(directory, {})
        finally:
            _stop(process)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _environment() -> dict[str, str]:
    """A world of its own: nothing of an installation that the caller's environment may name."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ATTUNE_")}
    return kept | {STOP_WITH_PARENT: "yes"}


def _wait_until_ready(process: "subprocess.Popen[bytes]", directory: DataDirectory, output: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        running = directory.running()
        if running is not None and running.ready:
            return
        time.sleep(0.1)
    raise Trouble(f"The temporary stack did not come up:\n{last_lines(output, 20)}")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(STOPS_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
