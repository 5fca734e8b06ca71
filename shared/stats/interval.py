"""The one shape in which every estimate is handed on."""

from math import nan
from typing import NamedTuple


class Interval(NamedTuple):
    """An estimate with its interval, in the unit of the metric (money, or 0.01 for one percentage point).

    `low` and `high` may be infinite (nothing is known yet) or nan (nothing can be said; `reason` says why).
    `p_value` is two-sided, for "no effect". `method` names the formula in words that a report can print.
    """

    estimate: float
    low: float
    high: float
    p_value: float
    standard_error: float
    method: str
    reason: str | None = None


def unknown(reason: str, method: str = "", estimate: float = nan) -> Interval:
    """Say that there is no interval, and why.

    >>> unknown("an arm has no customers").reason
    'an arm has no customers'
    """
    return Interval(estimate, nan, nan, nan, nan, method, reason)
