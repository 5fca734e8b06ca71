"""Recency, frequency and monetary value: scores from 1 to 5 and the segments named after them.

This module is the specification; the scoring itself is a set-based statement in `queries/rfm.py`, held to it by a test.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Rows are the recency score (1 longest ago … 5 most recent), columns the frequency score (1 seldom … 5 often).
SEGMENTS = (
    ("hibernating", "hibernating", "at_risk", "at_risk", "cannot_lose"),
    ("hibernating", "hibernating", "at_risk", "at_risk", "cannot_lose"),
    ("about_to_sleep", "about_to_sleep", "needs_attention", "loyal", "loyal"),
    ("promising", "potentially_loyal", "potentially_loyal", "loyal", "loyal"),
    ("new", "potentially_loyal", "potentially_loyal", "champions", "champions"),
)


class Scores(NamedTuple):
    """Scores of each customer, 1 (lowest fifth) to 5 (highest), and the name of the segment."""

    recency: NDArray[np.int64]
    frequency: NDArray[np.int64]
    monetary: NDArray[np.int64]
    segment: list[str]


def quintile(values: Sequence[float] | NDArray[np.float64]) -> NDArray[np.int64]:
    """Score each value by its rank among all values; equal values share the rank in their middle.

    Parameters
    ----------
    values
        One value per customer, in any order; more is better.

    Returns
    -------
    numpy.ndarray
        1 + ⌊5 · (smaller values + (equal values − 1) / 2) / n⌋, which lies in 1 … 5. Equal values get equal scores,
        unlike with a cut into five groups of one size, and neither the best nor the worst of them: where 77 % of
        customers share the most recent day, all of them score 4; where all are alike, all score 3.

    >>> quintile([10, 20, 30, 40, 50]).tolist()
    [1, 2, 3, 4, 5]
    >>> quintile([1, 1, 1, 1, 9]).tolist()
    [2, 2, 2, 2, 5]
    """
    found = np.asarray(values, dtype=np.float64)
    ordered = np.sort(found)
    smaller, not_larger = (np.searchsorted(ordered, found, side=side) for side in ("left", "right"))
    return np.asarray(1 + 5 * (smaller + not_larger - 1) // (2 * max(len(found), 1)), dtype=np.int64)


def score(recency_days: Sequence[float], frequency: Sequence[float], monetary: Sequence[float]) -> Scores:
    """Score customers by days since the last purchase, number of purchases and their value.

    >>> score([400, 300, 200, 100, 1], [1, 1, 2, 3, 9], [5, 10, 20, 40, 80]).segment
    ['hibernating', 'hibernating', 'needs_attention', 'loyal', 'champions']
    """
    recent = quintile(-np.asarray(recency_days, dtype=np.float64))
    often = quintile(frequency)
    names = [SEGMENTS[r - 1][f - 1] for r, f in zip(recent, often, strict=True)]
    return Scores(recent, often, quintile(monetary), names)
