"""The whole loop over HTTP at a small size: the story that `attune demo` tells, on a real stack."""

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from services.demo.story import tell
from services.stack.target import Target

CUSTOMERS = 40_000  # fewer, and refinement says that there are too few responders


@pytest.fixture(scope="module")
def told(stack: Target, tmp_path_factory: pytest.TempPathFactory) -> tuple[bool, str, Path]:
    """Whether the story ended well, what it showed, and where its reports are."""
    shown = io.StringIO()
    reports = tmp_path_factory.mktemp("reports")
    well = tell(stack, Console(file=shown, width=80), name="demo", customers=CUSTOMERS, reports=reports)
    return well, shown.getvalue(), reports


def test_the_loop_closes_and_the_second_round_earns_more(told: tuple[bool, str, Path]) -> None:
    well, shown, _ = told
    assert well, shown


@pytest.mark.parametrize(
    "words",
    [
        "Quality report of the import",
        "rows came twice",
        "/attributes/age",
        "who is left after each step",
        "kept aside",
        "sent a second time",
        "Is the experiment healthy?",
        "profit beyond the control",
        "age is between 25 and 80",
        "Costs are paid at once and revenue comes later",
        "is a fingerprint of everybody on it",
        "answer as long as the stack is up",
        "A better segment, confirmed",
        "the segment's version 2",
        "Profit per contact",
        "Intervals that hold the truth",
    ],
)
def test_the_story_shows_each_step(told: tuple[bool, str, Path], words: str) -> None:
    assert words in " ".join(told[1].split())


def test_the_story_shows_money_with_its_currency_and_shares_in_per_cent(told: tuple[bool, str, Path]) -> None:
    shown = told[1]
    for title in ("Money: profit", "Looks at shop-profit", "Profit per contact"):
        table = shown.split(title)[1].split("└")[0]
        assert re.search(r"\d\.\d\d €", table), table
        assert not re.search(r"\d\.\d{3}", table), table
    assert not re.search(r"\d%", shown.split("Looks at shop-profit")[1].split("Decision")[0])
    assert '{"attribute"' not in shown


def test_no_file_or_address_of_a_report_is_cut_on_a_narrow_screen(told: tuple[bool, str, Path], stack: Target) -> None:
    places = [line.strip() for line in told[1].splitlines() if line.startswith("  ") and "/" in line]
    assert sum(line.startswith(f"{stack.experiments}/v1/") and line.endswith("/report") for line in places) == 2
    assert sum(line == str(told[2] / Path(line).name) for line in places) == 2


def test_both_report_pages_are_saved_and_their_addresses_shown(told: tuple[bool, str, Path], stack: Target) -> None:
    _, shown, reports = told
    pages = sorted(reports.glob("*.html"))
    assert [page.name for page in pages] == ["autumn-mailing.html", "winter-mailing.html"]
    for page in pages:
        content = page.read_text(encoding="utf-8")
        assert content.lower().startswith("<!doctype html>")
        assert "<svg" in content
        assert "<script" not in content
        assert str(page) in shown.replace("\n", "")
    assert f"{stack.experiments}/v1/experiments/" in shown
