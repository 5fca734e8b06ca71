"""The supervisor: what dies comes back, and stopping has an order. Real processes, each a line of Python."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from services.stack.processes import LOG_LIMIT, Process, Program, last_lines
from services.stack.supervisor import LONGEST_PAUSE, Supervisor, pause_before_restart
from services.stack.trouble import Trouble

ROOT = Path(__file__).resolve().parents[2]
SLEEP = "import time; print('up', flush=True); time.sleep(600)"


def never() -> bool:
    return False


class World:
    """A supervisor, what it said, and programs made of Python lines."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said: list[str] = []
        self.supervisor = Supervisor(self.said.append)

    def program(self, name: str, code: str = SLEEP, *, turn: int = 0, patience: float = 10.0) -> Program:
        log = self.folder / f"{name}.log"
        return Program(
            name=name,
            command=[sys.executable, "-c", code],
            environment=dict(os.environ),
            log=log,
            answers=lambda: "up" in last_lines(log, 3),
            stop_turn=turn,
            stop_patience=patience,
        )

    def up(self, *programs: Program) -> None:
        self.supervisor.start(programs)
        self.supervisor.wait_until_answering(within=20, stopping=never)

    def process(self, name: str) -> Process:
        return next(each for each in self.supervisor._processes if each.program.name == name)

    def tick_until(self, condition: Callable[[], bool], seconds: float = 15) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"did not happen in {seconds} s; said: {self.said}"
            self.supervisor.tick()
            time.sleep(0.02)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.supervisor.stop()


def test_what_is_killed_is_said_and_started_again(world: World) -> None:
    world.up(world.program("service"))
    first = world.process("service").popen
    assert first is not None
    first.kill()
    world.tick_until(lambda: len(world.said) == 3)
    second = world.process("service").popen
    assert second is not None
    assert second.pid != first.pid
    assert second.poll() is None
    assert world.said[0].startswith("service was killed by signal 9; starting it again in 0.5 s")
    assert world.said[1] == "service was started again"
    assert re.fullmatch(r"service answers again after \d+\.\d s", world.said[2])


def test_what_is_started_again_is_said_to_answer_only_once_it_does(world: World, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    program = replace(world.program("service"), answers=ready.exists)
    ready.touch()
    world.up(program)
    ready.unlink()
    process = world.process("service").popen
    assert process is not None
    process.kill()
    world.tick_until(lambda: "service was started again" in world.said)
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        world.supervisor.tick()
        time.sleep(0.02)
    assert len(world.said) == 2
    ready.touch()
    world.tick_until(lambda: len(world.said) == 3)
    assert float(world.said[2].split()[-2]) > 1.5


def test_what_keeps_dying_is_started_less_and_less_often(world: World) -> None:
    world.up(world.program("service", "import time; print('up', flush=True); time.sleep(0.3); raise SystemExit(3)"))
    world.tick_until(lambda: sum("starting it again" in said for said in world.said) == 3)
    pauses = [said.split(" in ")[1].split(" s")[0] for said in world.said if "starting it again" in said]
    assert pauses == ["0.5", "1", "2"]
    assert "service ended with status 3" in world.said[0]


def test_the_pause_before_a_restart_doubles_up_to_a_limit() -> None:
    pauses = [pause_before_restart(deaths) for deaths in range(1, 30)]
    assert pauses[:4] == [0.5, 1, 2, 4]
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE


def test_what_ends_at_its_start_is_refused_with_the_end_of_its_log(world: World) -> None:
    world.supervisor.start([world.program("service", "raise SystemExit('the port is taken')")])
    with pytest.raises(Trouble, match=r"(?s)service ended with status 1.*the port is taken"):
        world.supervisor.wait_until_answering(within=20, stopping=never)


def test_what_does_not_answer_in_time_is_refused(world: World) -> None:
    world.supervisor.start([world.program("service", "import time; time.sleep(600)")])
    with pytest.raises(Trouble, match="service does not answer"):
        world.supervisor.wait_until_answering(within=0.3, stopping=never)


def test_stopping_while_something_starts_ends_the_waiting(world: World) -> None:
    world.supervisor.start([world.program("service", "import time; time.sleep(600)")])
    began = time.monotonic()
    world.supervisor.wait_until_answering(within=60, stopping=lambda: True)
    assert time.monotonic() - began < 5


def test_workers_stop_before_services_and_services_before_postgres(world: World, tmp_path: Path) -> None:
    order = tmp_path / "order"

    def saying(name: str) -> str:
        return (
            "import signal, sys, time\n"
            "def end(*_):\n"
            "    time.sleep(0.2)\n"
            f"    open({str(order)!r}, 'a').write('{name} ')\n"
            "    sys.exit()\n"
            "signal.signal(signal.SIGTERM, end)\n"
            "print('up', flush=True)\n"
            "time.sleep(600)"
        )

    world.up(
        *(world.program(name, saying(name), turn=turn) for turn, name in ((2, "postgres"), (1, "api"), (0, "worker")))
    )
    world.supervisor.stop()
    assert order.read_text().split() == ["worker", "api", "postgres"]


def test_what_does_not_listen_is_killed_and_said(world: World) -> None:
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    )
    world.up(world.program("service", deaf, patience=0.3))
    world.supervisor.stop()
    assert world.said == ["service did not stop in time and was killed"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent is gone")
def test_nothing_outlives_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from services.stack.processes import Process, Program\n"
        "process = Process(Program('child', [sys.executable, '-c', 'import time; time.sleep(600)'], {}, "
        f"Path({str(tmp_path / 'child.log')!r}), lambda: True))\n"
        "process.start(); print(process.popen.pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    end = time.monotonic() + 10
    while _runs(child):
        assert time.monotonic() < end, "the child is still there"
        time.sleep(0.05)
    parent.stdout.close()


def _runs(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "State:\tZ" not in status.read_text()


def test_a_log_that_grew_large_is_set_aside_at_the_next_start(world: World, tmp_path: Path) -> None:
    log = tmp_path / "service.log"
    with log.open("wb") as file:
        file.truncate(LOG_LIMIT + 1)
    world.up(world.program("service"))
    assert log.stat().st_size < 1000
    assert (tmp_path / "service.log.1").stat().st_size == LOG_LIMIT + 1


def test_a_signal_is_named_where_a_process_died_of_it(world: World) -> None:
    world.up(world.program("service"))
    process = world.process("service")
    assert process.popen is not None
    process.popen.send_signal(signal.SIGTERM)
    process.popen.wait()
    assert process.how_it_ended() == "was killed by signal 15"
