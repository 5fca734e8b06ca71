"""`python -m tests.bench [--full] [name …]`: measure, print a table, and at full size write docs/benchmarks.md."""

import argparse
import importlib
import platform
import re
import sys
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench.row import RUNS, Row

SUBJECTS = ("ingest", "assignment", "results", "preview", "assign_online")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"
MARKS = ("<!-- table -->", "<!-- /table -->")


def main() -> None:
    """Run the subjects named (all by default), each shown as soon as it is measured; one that breaks stops no other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="full size; of all subjects it goes to docs/benchmarks.md")
    parser.add_argument("subjects", nargs="*", metavar="subject", help=f"of {', '.join(SUBJECTS)}; all by default")
    given = parser.parse_args()
    if unknown := [name for name in given.subjects if name not in SUBJECTS]:
        parser.error(f"there is no subject {', '.join(unknown)}: choose of {', '.join(SUBJECTS)}")
    size = 1.0 if given.full else 0.1
    chosen = given.subjects or list(SUBJECTS)
    found = {name: measured(name, size, f"{number}/{len(chosen)}") for number, name in enumerate(chosen, 1)}
    failed = [name for name, rows in found.items() if not rows]
    if failed:
        sys.exit(f"Not measured: {', '.join(failed)}")
    if given.full and not given.subjects:
        write([row for rows in found.values() for row in rows])


def measured(name: str, size: float, place: str) -> list[Row]:
    """The rows of a subject, shown as they come; none where it broke, with the reason on stderr."""
    print(f"{datetime.now(UTC):%H:%M:%S} {place} {name} …", file=sys.stderr, flush=True)
    started = time.perf_counter()
    try:
        rows: list[Row] = importlib.import_module(f"tests.bench.{name}").run(size)
    except Exception:
        traceback.print_exc()
        return []
    print(
        f"{datetime.now(UTC):%H:%M:%S} {name} took {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True
    )
    show(rows, size)
    return rows


def show(rows: list[Row], size: float) -> None:
    """The table on the terminal, and the notes beneath."""
    table = Table(title=f"Measured at {size:.0%} of the full size; medians of {RUNS} runs")
    for column in ("what", "against", "product", "floor", "unit", "x floor"):
        table.add_column(column, justify="right" if column in ("product", "floor", "x floor") else "left")
    for row in rows:
        table.add_row(row.subject, row.floor_name, figure(row.product), figure(row.floor), row.unit, f"{row.ratio:.2f}")
    console = Console()
    console.print(table)
    for row in rows:
        if row.note:
            console.print(f"{row.subject}: {row.note}", highlight=False)


def write(rows: list[Row]) -> None:
    """The table between the marks of docs/benchmarks.md."""
    machine = f"{platform.machine()}, Python {platform.python_version()}, {datetime.now(UTC):%Y-%m-%d}"
    lines = [
        f"Full size, medians of {RUNS} runs, {machine}.",
        "",
        "| what | against | product | floor | unit | times the floor | note |",
        "| --- | --- | ---: | ---: | --- | ---: | --- |",
        *map(line, rows),
    ]
    text = PAGE.read_text()
    begin, end = MARKS
    PAGE.write_text(re.sub(f"{begin}.*{end}", lambda _: "\n".join([begin, *lines, end]), text, flags=re.DOTALL))


def line(row: Row) -> str:
    """A row of the page's table."""
    figures = f"{figure(row.product)} | {figure(row.floor)} | {row.unit} | {row.ratio:.2f}"
    return f"| {row.subject} | {row.floor_name} | {figures} | {row.note} |"


def figure(measured: float) -> str:
    """Four significant digits, written out."""
    return f"{measured:,.0f}" if measured >= 1000 else f"{measured:.4g}"


if __name__ == "__main__":
    main()
