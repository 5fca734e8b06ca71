"""What `attune status` and `attune keys list` show."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from services.stack.stack import answers
from services.stack.target import running_stack
from shared.auth import ApiKey


def show_status(directory: Path, console: Console) -> bool:
    """Show each process of the stack on `directory`; whether all of them answer. Raises Trouble when none runs."""
    running = running_stack(directory)
    probes = {name: f"{address}/readyz" for name, address in running.addresses.items()}
    probes |= {f"{name} worker": f"{address}/healthz" for name, address in running.workers.items()}
    with ThreadPoolExecutor(len(probes)) as pool:  # at the same time: parts that hang cost one time-out, not six
        found = dict(zip(probes, pool.map(answers, probes.values()), strict=True))
    table = Table(title=f"Attune on {directory} (process {running.process})", title_justify="left")
    for heading in ("part", "asked", "state"):
        table.add_column(heading)
    for name, probe in probes.items():
        table.add_row(name, probe, "[green]answers[/green]" if found[name] else "[red]does not answer[/red]")
    console.print(table)
    return all(found.values())


def show_keys(keys: Sequence[ApiKey], console: Console) -> None:
    """Show keys as a table: everything but their secrets."""
    table = Table()
    for heading in ("id", "name", "scopes", "made", "ends", "revoked"):
        table.add_column(heading, overflow="fold")
    for key in keys:
        instants = (key.created_at, key.expires_at, key.revoked_at)
        table.add_row(
            key.id, escape(key.name), " ".join(key.scopes), *(f"{at:%Y-%m-%d %H:%M}" if at else "" for at in instants)
        )
    console.print(table)
