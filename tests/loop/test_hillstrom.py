"""A real mailing through the services' doors: their answer is SciPy's on the raw file."""

import io
import math
import re

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console
from scipy import stats

from services.demo import hillstrom
from services.demo.files import csv_rows
from services.demo.hillstrom import CONVERSIONS, SPEND, VISITS, EffectFigures, Figures
from services.stack.target import Target
from tests.conftest import real_data

COLUMNS = {VISITS: "visit", CONVERSIONS: "conversion", SPEND: "spend"}
MAILINGS = {"mens-mail": "Mens E-Mail", "womens-mail": "Womens E-Mail"}


@pytest.fixture(scope="module")
def figures(stack: Target) -> Figures:
    return hillstrom.replay(stack, real_data("hillstrom.csv.gz"), lambda what: None)


@pytest.fixture(scope="module")
def raw() -> dict[tuple[str, str], NDArray[np.float64]]:
    """The file's own figures by segment of the file and column."""
    rows = list(csv_rows(real_data("hillstrom.csv.gz"), ["segment"]))
    segments = np.array([row["segment"] for row in rows])
    return {
        (segment, column): np.array([float(row[column]) for row in rows])[segments == segment]
        for segment in hillstrom.ARMS
        for column in COLUMNS.values()
    }


def test_every_customer_arm_and_response_of_the_file_is_there(figures: Figures) -> None:
    assert figures.customers.accepted == 64_000
    assert figures.customers.rejected == 0
    assert figures.assignments.assigned == 64_000
    assert figures.assignments.arms == {"mens-mail": 21_307, "womens-mail": 21_387, "no-mail": 21_306}
    assert figures.responses.accepted == 9_394 + 578
    assert figures.responses.refused == 0


def test_the_replay_says_which_experiment_which_intervals_and_where_the_report_is(
    figures: Figures, stack: Target
) -> None:
    shown = io.StringIO()
    hillstrom.show(figures, Console(file=shown, width=80))
    said = " ".join(shown.getvalue().split())
    assert f"{stack.experiments}/v1/experiments/hillstrom/report" in said
    assert "Experiment hillstrom." in said
    assert "95 % intervals of the fixed horizon" in said
    assert re.search(r"\d\.\d\d USD", said)


@pytest.mark.parametrize("metric", COLUMNS)
@pytest.mark.parametrize("arm", MAILINGS)
def test_effects_are_scipys_on_the_raw_file(
    figures: Figures, raw: dict[tuple[str, str], NDArray[np.float64]], metric: str, arm: str
) -> None:
    treated, control = raw[MAILINGS[arm], COLUMNS[metric]], raw["No E-Mail", COLUMNS[metric]]
    found = effect(figures, metric, arm)
    welch = stats.ttest_ind(treated, control, equal_var=False)
    interval = welch.confidence_interval(0.95)
    expected = {
        "customers": len(treated),
        "customers_against": len(control),
        "mean": treated.mean(),
        "mean_against": control.mean(),
        "effect": treated.mean() - control.mean(),
        "standard_error": math.sqrt(treated.var(ddof=1) / len(treated) + control.var(ddof=1) / len(control)),
        "low": interval.low,
        "high": interval.high,
        "p_value": welch.pvalue,
    }
    assert {name: getattr(found, name) for name in expected} == pytest.approx(expected, abs=1e-9, rel=1e-9)


def effect(figures: Figures, metric: str, arm: str) -> EffectFigures:
    return next(each for each in figures.effects if (each.metric, each.arm, each.against) == (metric, arm, "no-mail"))


def test_the_split_that_was_made_elsewhere_passes_every_check(figures: Figures) -> None:
    assert figures.results.health
    assert {check.status for check in figures.results.health} <= {"ok", "warning"}


def test_refinement_ends_in_words_and_a_rule_only_where_one_was_confirmed(figures: Figures) -> None:
    refinement = figures.refinement
    assert refinement.state in ("proposed", "nothing")
    assert len(refinement.verdict) > 20
    assert (refinement.definition is not None) == (refinement.state == "proposed")


def test_replaying_again_changes_nothing(figures: Figures, stack: Target) -> None:
    again = hillstrom.replay(stack, real_data("hillstrom.csv.gz"), lambda what: None)
    assert again.assignments.new == 0
    assert again.responses.accepted == 0
    assert again.responses.duplicates == figures.responses.accepted
    assert again.effects == figures.effects
