"""Estimates held against the simulation's truth."""

from collections.abc import Sequence
from math import comb
from typing import NamedTuple

from rich.table import Table

from services.demo import words
from services.demo.shop import Truth
from shared.contracts.results import Effect, Results

IMPLAUSIBLE = 0.001  # probability below which so many misses are no bad luck
# One kind of figure for each thing that chance decides by itself. Buyers, revenue and profit move together: their
# intervals miss together, so only profit is counted beside visits.
COUNTED = ("visits", "profit")


class Comparison(NamedTuple):
    """One estimate beside the truth; `low` and `high` bound what the service says, however often one looks."""

    round: str
    figure: str
    arm: str
    estimate: float
    low: float
    high: float
    truth: float

    @property
    def holds(self) -> bool:
        return self.low <= self.truth <= self.high


def compare(name: str, results: Results, figures: dict[str, str], truths: dict[str, Truth]) -> list[Comparison]:
    """Every estimated effect beside what is true.

    Parameters
    ----------
    name
        What the round is called.
    figures
        Which figure of `Truth` a metric's key measures.
    truths
        What each arm truly changes.
    """
    found = []
    for metric in results.metrics:
        figure = figures.get(metric.metric)
        for effect in metric.effects if figure else []:
            low, high = _interval(effect)
            if figure and effect.absolute.estimate is not None and low is not None and high is not None:
                true = getattr(truths[effect.arm], figure)
                found.append(Comparison(name, figure, effect.arm, effect.absolute.estimate, low, high, true))
    return found


def _interval(effect: Effect) -> tuple[float | None, float | None]:
    if effect.sequential is not None and effect.sequential.low is not None:
        return effect.sequential.low, effect.sequential.high
    return effect.fixed.low, effect.fixed.high


def chance_of_misses(misses: int, intervals: int, level: float = 0.05) -> float:
    """The probability that at least `misses` of so many independent intervals miss, each with probability `level`.

    >>> round(chance_of_misses(1, 1), 3), round(chance_of_misses(0, 6), 3), round(chance_of_misses(4, 6), 6)
    (0.05, 1.0, 8.6e-05)
    """
    return sum(comb(intervals, k) * level**k * (1 - level) ** (intervals - k) for k in range(misses, intervals + 1))


def plausible(comparisons: Sequence[Comparison]) -> bool:
    """Whether bad luck alone may explain how many of the counted intervals miss the truth."""
    misses, intervals = counted(comparisons)
    return chance_of_misses(misses, intervals) >= IMPLAUSIBLE


def counted(comparisons: Sequence[Comparison]) -> tuple[int, int]:
    """Misses and intervals among the counted figures."""
    chosen = [each for each in comparisons if each.figure in COUNTED]
    return sum(not each.holds for each in chosen), len(chosen)


def misses_explained(comparisons: Sequence[Comparison]) -> str:
    """How many intervals hold the truth, and whether the others are within chance."""
    misses, intervals = counted(comparisons)
    said = (
        f"Intervals that hold the truth: {sum(each.holds for each in comparisons)} of {len(comparisons)}. "
        f"Of the {intervals} that chance decides separately (visits and profit), "
    )
    if not misses:
        return f"{said}none missed."
    chance = chance_of_misses(misses, intervals)
    often = f"{100 * chance:.2g} %" if plausible(comparisons) else f"less than {100 * IMPLAUSIBLE:g} %"
    ends = (
        f"within chance, which is doubted below {100 * IMPLAUSIBLE:g} %"
        if plausible(comparisons)
        else "[red]not within chance any more[/red]"
    )
    return (
        f"{said}{misses} missed. Each misses in 5 % of all tellings, and {misses} or more of {intervals} in {often}: "
        f"{ends}."
    )


def truth_table(title: str, comparisons: Sequence[Comparison], currency: str) -> Table:
    """What was estimated, between which bounds, and what is true."""
    table = words.table(title, "figure", "arm", ">estimate", ">from", ">to", ">truth", "")
    for each in comparisons:
        percent = each.figure in ("visits", "buyers")
        numbers = (each.estimate, each.low, each.high, each.truth)
        cells = [words.share(number) if percent else words.money(number, currency) for number in numbers]
        table.add_row(
            each.figure, each.arm, *cells, "[green]holds[/green]" if each.holds else "[yellow]missed[/yellow]"
        )
    return table
