"""From figures to positions: linear scales with round ticks."""

from collections.abc import Iterable
from math import ceil, floor, isfinite, log10
from typing import NamedTuple


class Scale(NamedTuple):
    """Maps low … high to 0 … 100 per cent; `ticks` are round numbers within."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def at(self, value: float) -> float:
        """Position in per cent, kept inside."""
        return round(100 * min(1.0, max(0.0, (value - self.low) / (self.high - self.low))), 3)


def scale(values: Iterable[float | None], *, ticks: int = 5, margin: float = 0.04) -> Scale:
    """A scale that holds all values and zero, with room at its ends, and about `ticks` ticks."""
    known = [value for value in values if value is not None and isfinite(value)]
    low, high = min([0.0, *known]), max([0.0, *known])
    if low == high:
        low, high = -1.0, 1.0
    room = margin * (high - low)
    low, high = low - (room if low < 0 else 0), high + (room if high > 0 else 0)
    step = _round_step(0.7 * (high - low) / ticks)
    first, last = ceil(low / step - 1e-9), floor(high / step + 1e-9)
    return Scale(low, high, tuple(position * step for position in range(first, last + 1)))


def _round_step(step: float) -> float:
    power = 10.0 ** floor(log10(step))
    return next(each * power for each in (1, 2, 2.5, 5, 10) if each * power >= step - 1e-12 * power)
