"""Starts processes together, restarts what dies, stops all in order."""

import time
from collections.abc import Callable, Sequence
from itertools import groupby

from services.stack.processes import Process, Program
from services.stack.trouble import Trouble

FIRST_PAUSE = 0.5  # seconds before the first restart; doubled with every further death in a row
LONGEST_PAUSE = 30.0
STEADY_AFTER = 60.0  # seconds alive after which earlier deaths are forgotten
TICK = 0.1
ASK_AFTER = 0.5  # seconds between two questions to what was started again, whether it answers

Say = Callable[[str], None]
Stopping = Callable[[], bool]


def pause_before_restart(deaths_in_a_row: int) -> float:
    """Seconds to wait before a process that died this often in a row is started again.

    >>> [pause_before_restart(deaths) for deaths in (1, 2, 3, 20)]
    [0.5, 1.0, 2.0, 30.0]
    """
    return float(min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(deaths_in_a_row - 1, 10)))


class Supervisor:
    """Keeps processes alive.

    It has one thread, the caller's: `start` and `wait_until_answering`, then `tick` again and again, then `stop`.
    """

    def __init__(self, say: Say) -> None:
        self._say = say
        self._processes: list[Process] = []
        self._supervised: list[Process] = []

    def start(self, programs: Sequence[Program]) -> None:
        """Start `programs` at once; they are supervised from the time that somebody waited for them."""
        for program in programs:
            process = Process(program)
            self._processes.append(process)
            process.start()

    def wait_until_answering(self, *names: str, within: float, stopping: Stopping) -> None:
        """Return when the processes of these names (by default: all that were started) answer, or when `stopping`.

        Raises
        ------
        Trouble
            When one ends, or does not answer, within `within` seconds.
        """
        started = [process for process in self._processes if process not in self._supervised]
        waiting = [process for process in started if not names or process.program.name in names]
        deadline = time.monotonic() + within
        while not stopping() and not all([_answers(process) for process in waiting]):
            for process in waiting:
                _refuse_failed(process, late=time.monotonic() > deadline)
            self.tick()
            time.sleep(TICK / 2)
        self._supervised += waiting

    def tick(self) -> None:
        """Look once at every supervised process: notice deaths, restart what is due, hear what answers; say all."""
        for process in self._supervised:
            if process.alive:
                _forgive(process)
                self._hear(process)
            elif process.start_again_at is None:
                self._mourn(process)
            elif time.monotonic() >= process.start_again_at:
                self._revive(process)

    def stop(self) -> None:
        """Stop turn by turn; within a turn all at once, each with its own patience, then killed."""
        in_turn = sorted(self._processes, key=lambda process: process.program.stop_turn)
        for _, turn in groupby(in_turn, key=lambda process: process.program.stop_turn):
            processes = list(turn)
            for process in processes:
                process.ask_to_stop()
            for process in processes:
                if not process.wait_until_stopped():
                    self._say(f"{process.program.name} did not stop in time and was killed")
        self._processes, self._supervised = [], []

    def _mourn(self, process: Process) -> None:
        name, how = process.program.name, process.how_it_ended()
        process.away_since = process.away_since or time.monotonic()
        pause = _pause(process)
        self._say(f"{name} {how}; starting it again in {pause:g} s (log: {process.program.log})")

    def _revive(self, process: Process) -> None:
        try:
            process.start()
        except OSError as error:
            pause = _pause(process)
            self._say(f"{process.program.name} could not be started ({error}); trying again in {pause:g} s")
        else:
            self._say(f"{process.program.name} was started again")

    def _hear(self, process: Process) -> None:
        if process.away_since is None or time.monotonic() < process.ask_at:
            return
        if _answers(process):
            self._say(f"{process.program.name} answers again after {time.monotonic() - process.away_since:.1f} s")
            process.away_since = None
        process.ask_at = time.monotonic() + ASK_AFTER


def _pause(process: Process) -> float:
    process.deaths_in_a_row += 1
    pause = pause_before_restart(process.deaths_in_a_row)
    process.start_again_at = time.monotonic() + pause
    return pause


def _forgive(process: Process) -> None:
    if process.deaths_in_a_row and time.monotonic() - process.started_at > STEADY_AFTER:
        process.deaths_in_a_row = 0


def _answers(process: Process) -> bool:
    process.answered = process.answered or (process.alive and process.program.answers())
    return process.answered


def _refuse_failed(process: Process, *, late: bool) -> None:
    if process.alive and (process.answered or not late):
        return
    what = "does not answer" if process.alive else process.how_it_ended()
    raise Trouble(f"{process.program.name} {what}. The end of its log ({process.program.log}):\n{process.last_words()}")
