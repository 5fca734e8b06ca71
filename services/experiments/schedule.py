"""On which days one blast is looked at. Pure."""

from collections.abc import Iterable
from math import ceil

MOST = 14  # looks at one metric: each costs a recount of every one before, and more of them hardly decide earlier


def days(window_days: int) -> list[int]:
    """Whole days after t0, evenly over the window; the last is its end. It follows from the window, which is frozen.

    >>> days(3), days(60)
    ([1, 2, 3], [5, 9, 13, 18, 22, 26, 30, 35, 39, 43, 48, 52, 56, 60])
    """
    looks = min(window_days, MOST)
    return [ceil(window_days * look / looks) for look in range(1, looks + 1)]


def following(windows: Iterable[int], day: int) -> int | None:
    """The next day on which a metric with one of these windows is looked at; None after the last.

    >>> following([2, 60], 1), following([2, 60], 2), following([2, 60], 60)
    (2, 5, None)
    """
    return min((each for window in windows for each in days(window) if each > day), default=None)
