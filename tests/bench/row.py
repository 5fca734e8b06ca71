"""One line of the table of measurements, and how it is taken: product and floor in turn, medians of several runs."""

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

RUNS = 5


class Row(NamedTuple):
    """What was measured against which floor, in the same run.

    `product` and `floor` are medians in `unit`. `ratio` is how many times the floor's time the product takes
    (1 is the floor itself, larger is slower).
    """

    subject: str
    floor_name: str
    unit: str
    product: float
    floor: float
    ratio: float
    note: str = ""


def seconds(action: Callable[[], object]) -> float:
    """How long one call takes (wall time)."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def compare_times(
    subject: str, floor_name: str, product: Callable[[], object], floor: Callable[[], object], *, note: str = ""
) -> Row:
    """Product and floor in turn, `RUNS` times each after one run to warm up; the ratio is the median of the pairs'."""
    product(), floor()
    pairs = [(seconds(product), seconds(floor)) for _ in range(RUNS)]
    return from_pairs(subject, floor_name, "s", pairs, note=note)


def from_pairs(subject: str, floor_name: str, unit: str, pairs: list[tuple[float, float]], *, note: str = "") -> Row:
    """A row from (product, floor) pairs of one run each: times in `s` or `ms`, or rates such as `rows/s`."""
    rates = unit.endswith("/s")
    ratios = [(floor / product) if rates else (product / floor) for product, floor in pairs]
    return Row(
        subject,
        floor_name,
        unit,
        statistics.median(product for product, _ in pairs),
        statistics.median(floor for _, floor in pairs),
        statistics.median(ratios),
        note,
    )
