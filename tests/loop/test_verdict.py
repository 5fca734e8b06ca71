"""Estimates against the truth: when do misses stop being bad luck?"""

import pytest
from scipy import stats

from services.demo.verdict import Comparison, chance_of_misses, counted, misses_explained, plausible


def comparison(figure: str, *, holds: bool) -> Comparison:
    return Comparison("round", figure, "mail", 1.0, 0.5, 1.5, truth=1.2 if holds else 2.0)


@pytest.mark.parametrize(("misses", "intervals"), [(0, 1), (1, 1), (2, 6), (4, 6), (5, 40), (40, 40)])
def test_the_chance_of_so_many_misses_is_the_binomial_tail(misses: int, intervals: int) -> None:
    assert chance_of_misses(misses, intervals) == pytest.approx(stats.binom.sf(misses - 1, intervals, 0.05), rel=1e-9)


@pytest.mark.parametrize(("misses", "well"), [(0, True), (3, True), (4, False), (6, False)])
def test_three_of_six_intervals_may_miss_and_four_may_not(misses: int, well: bool) -> None:
    figures = ["visits", "profit"] * 3
    assert plausible([comparison(figure, holds=number >= misses) for number, figure in enumerate(figures)]) is well


@pytest.mark.parametrize(
    ("misses", "says"),
    [
        (0, "6 of 6. Of the 6 that chance decides separately (visits and profit), none missed."),
        (2, "2 missed. Each misses in 5 % of all tellings, and 2 or more of 6 in 3.3 %: within chance"),
        (4, "and 4 or more of 6 in less than 0.1 %: [red]not within chance any more"),
    ],
)
def test_misses_within_chance_are_said_to_be_so_with_the_threshold(misses: int, says: str) -> None:
    figures = ["visits", "profit"] * 3
    assert says in misses_explained([comparison(name, holds=row >= misses) for row, name in enumerate(figures)])


def test_figures_that_move_with_profit_are_shown_but_not_counted_twice() -> None:
    comparisons = [comparison(figure, holds=False) for figure in ("visits", "buyers", "revenue", "profit")]
    assert counted(comparisons) == (2, 2)


@pytest.mark.parametrize(("truth", "holds"), [(0.5, True), (1.5, True), (0.49, False), (1.51, False)])
def test_an_interval_holds_what_lies_within_its_ends(truth: float, holds: bool) -> None:
    assert Comparison("round", "visits", "mail", 1.0, 0.5, 1.5, truth).holds is holds
