"""`python -m tests.bench [--full] [name …]`: measure, print a table, and at full size write docs/benchmarks.md."""

import argparse
import importlib
import platform
import re
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench.row import RUNS, Row

SUBJECTS = ("ingest", "assignment", "results", "preview", "assign_online")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"
MARKS = ("<!-- table -->", "<!-- /table -->")


def main() -> None:
    """Run the subjects named (all by default)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="full size, and write docs/benchmarks.md")
    parser.add_argument("subjects", nargs="*", choices=[*SUBJECTS, []], help="all by default")
    given = parser.parse_args()
    size = 1.0 if given.full else 0.1
    rows: list[Row] = []
    for name in given.subjects or SUBJECTS:
        rows += importlib.import_module(f"tests.bench.{name}").run(size)
    show(rows, size)
    if given.full and not given.subjects:
        write(rows)


def show(rows: list[Row], size: float) -> None:
    """The table on the terminal."""
    table = Table(title=f"Measured at {size:.0%} of the full size; medians of {RUNS} runs")
    for column in ("what", "against", "product", "floor", "unit", "x floor"):
        table.add_column(column, justify="right" if column in ("product", "floor", "x floor") else "left")
    for row in rows:
        table.add_row(
            row.subject, row.floor_name, f"{row.product:,.4g}", f"{row.floor:,.4g}", row.unit, f"{row.ratio:.2f}"
        )
    Console().print(table)


def write(rows: list[Row]) -> None:
    """The table between the marks of docs/benchmarks.md."""
    machine = f"{platform.machine()}, Python {platform.python_version()}, {datetime.now(UTC):%Y-%m-%d}"
    lines = [
        f"Full size, medians of {RUNS} runs, {machine}.",
        "",
        "| what | against | product | floor | unit | times the floor | note |",
        "| --- | --- | ---: | ---: | --- | ---: | --- |",
        *(
            f"| {row.subject} | {row.floor_name} | {row.product:,.4g} | {row.floor:,.4g} | {row.unit} | {row.ratio:.2f} | {row.note} |"
            for row in rows
        ),
    ]
    text = PAGE.read_text()
    begin, end = MARKS
    PAGE.write_text(re.sub(f"{begin}.*{end}", lambda _: "\n".join([begin, *lines, end]), text, flags=re.DOTALL))


if __name__ == "__main__":
    main()
