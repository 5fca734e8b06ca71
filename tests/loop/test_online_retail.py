"""A year of a real shop's invoices through the bulk door: what is taken, what is refused and why, who is known then."""

import csv
import gzip
import io
from collections.abc import Iterator
from decimal import Decimal
from itertools import islice
from pathlib import Path

import pytest
from rich.console import Console

from services.demo import online_retail
from services.demo.files import csv_rows
from services.demo.online_retail import COLUMNS, Figures
from services.stack.target import Target
from services.stack.temporary import temporary_stack
from tests.conftest import real_data

SLICE = 30_000  # lines of the small run


def sales(path: Path) -> tuple[int, int, Decimal]:
    """Lines, customers and revenue of sales with a customer, a positive quantity and a positive price."""
    lines, customers, revenue = 0, set(), Decimal(0)
    for row in csv_rows(path, COLUMNS):
        amount = int(row["Quantity"]) * Decimal(row["UnitPrice"])
        if row["CustomerID"] and amount > 0 and not row["InvoiceNo"].startswith("C"):
            lines, revenue = lines + 1, revenue + amount
            customers.add(row["CustomerID"])
    return lines, len(customers), revenue


def refused(figures: Figures, pointer: str) -> int:
    return sum(reason.count for reason in figures.report.reasons if reason.pointer == pointer)


def totals(figures: Figures) -> tuple[int, int, Decimal]:
    return figures.sales_lines, figures.portraits_with_traits, figures.revenue


@pytest.fixture(scope="module")
def small_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file's first lines, as a file of its own."""
    path = tmp_path_factory.mktemp("retail") / "slice.csv.gz"
    with gzip.open(path, "wt", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(islice(csv_rows(real_data("online_retail.csv.gz"), COLUMNS), SLICE))
    return path


@pytest.fixture(scope="module")
def stack() -> Iterator[Target]:
    """A stack of its own: portraits are counted whole."""
    with temporary_stack() as target:
        yield target


@pytest.fixture(scope="module")
def small(stack: Target, small_file: Path) -> Figures:
    return online_retail.replay(stack, small_file, lambda what: None)


def test_every_line_is_taken_or_refused_with_its_reason(small: Figures, small_file: Path) -> None:
    rows = list(csv_rows(small_file, COLUMNS))
    without_customer = sum(not row["CustomerID"] for row in rows)
    free = sum(
        bool(row["CustomerID"]) and Decimal(row["UnitPrice"]) == 0 and not row["InvoiceNo"].startswith("C")
        for row in rows
    )
    assert small.lines == SLICE
    assert refused(small, "/customer_id") == without_customer > 0
    assert refused(small, "/value") == free > 0
    assert small.report.accepted == SLICE - without_customer - free
    assert (small.report.duplicates, small.report.conflicts) == (0, 0)


def test_lines_without_a_customer_are_shown_as_such(small: Figures) -> None:
    shown = io.StringIO()
    online_retail.show(small, Console(file=shown, width=80))
    assert "no customer" in shown.getvalue()
    assert "Input should be" not in shown.getvalue()
    assert "GBP" in shown.getvalue()


def test_identical_lines_are_reported_and_kept(small: Figures, small_file: Path) -> None:
    rows = [tuple(row.values()) for row in csv_rows(small_file, COLUMNS)]
    assert small.identical_lines == len(rows) - len(set(rows)) > 0
    assert small.report.accepted + small.report.refused == len(rows)


def test_portraits_hold_recency_frequency_and_value(small: Figures, small_file: Path) -> None:
    lines, customers, revenue = sales(small_file)
    assert totals(small) == (lines, customers, revenue)
    assert small.known_buyers == customers
    assert all({"rfm_monetary", "rfm_segment"} <= set(portrait.traits) for portrait in small.portraits)
    assert len(small.portraits) == online_retail.SHOWN


def test_replaying_again_finds_only_duplicates(small: Figures, small_file: Path, stack: Target) -> None:
    again = online_retail.replay(stack, small_file, lambda what: None)
    assert (again.report.accepted, again.report.duplicates) == (0, small.report.accepted)
    assert again.report.reasons == small.report.reasons
    assert totals(again) == totals(small)


@pytest.mark.slow
def test_the_whole_year_gives_the_published_figures(stack: Target, small: Figures) -> None:
    figures = online_retail.replay(stack, real_data("online_retail.csv.gz"), lambda what: None)
    assert figures.lines == 541_909
    assert figures.identical_lines == 5_268
    assert refused(figures, "/customer_id") == 135_080
    assert refused(figures, "/value") == 40
    assert figures.report.accepted + figures.report.duplicates == 541_909 - 135_080 - 40
    assert totals(figures) == (397_884, 4_338, Decimal("8911407.904"))
    assert figures.known_buyers == 4_338
    assert figures.cancellations == 8_905
