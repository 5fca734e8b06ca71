"""The whole loop over HTTP at a small size: the story that `attune demo` tells, on a real stack."""

import io
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
    well = tell(stack, Console(file=shown, width=160), customers=CUSTOMERS, reports=reports)
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
        "A better segment, confirmed",
        "the segment's version 2",
        "Profit per contact",
        "Intervals that hold the truth",
    ],
)
def test_the_story_shows_each_step(told: tuple[bool, str, Path], words: str) -> None:
    assert words in told[1]


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
