"""`attune up`: a stack in the foreground, with its table of addresses, until Ctrl-C or SIGTERM."""

import os
import signal
from collections.abc import Mapping
from datetime import datetime
from types import FrameType

from rich.console import Console
from rich.table import Table

from services.stack.stack import Options, Stack

DOES = {
    "audience": "know: customers, segments, target lists",
    "experiments": "try: arms, assignments, results",
    "feedback": "learn: events, refinements",
}
STOP_WITH_PARENT = "ATTUNE_STOP_WITH_PARENT"  # set by commands that run a temporary stack


class Stopping:
    """Turns true at the first Ctrl-C or SIGTERM, or when the command that wanted the stack is gone."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._asked = False
        self._parent = os.getppid() if environment.get(STOP_WITH_PARENT) else None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._ask)

    def __call__(self) -> bool:
        return self._asked or (self._parent is not None and os.getppid() != self._parent)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self._asked = True


def up(options: Options, environment: Mapping[str, str], console: Console) -> None:
    """Run a stack until asked to stop. Raises Trouble."""

    def say(what: str) -> None:
        console.print(f"[dim]{datetime.now().astimezone():%H:%M:%S}[/dim] ", end="")
        console.print(what, markup=False, highlight=False, soft_wrap=True)

    stopping = Stopping(environment)
    Stack(options, environment, say).run(stopping=stopping, ready=lambda stack: _show(stack, console))
    say("stopped")


def _show(stack: Stack, console: Console) -> None:
    table = Table(title="Attune is up", title_justify="left")
    for heading in ("service", "address", "docs", "worker"):
        table.add_column(heading, no_wrap=True)
    table.add_column("what it does")
    for name, address in stack.addresses.items():
        table.add_row(name, address, f"{address}/docs", stack.worker_addresses[name], DOES[name])
    console.print(table)
    console.print(f"API key   {stack.secrets['ATTUNE_BOOTSTRAP_KEY']}", highlight=False, soft_wrap=True)
    console.print(f"Data      {stack.directory.path} (logs in {stack.directory.logs})", highlight=False, soft_wrap=True)
    console.print("Stop with Ctrl-C.", highlight=False)
