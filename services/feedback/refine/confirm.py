"""The check on the other half: one rule, declared before, compared once with what else could be done."""

from collections.abc import Sequence
from math import pi
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri, owens_t

from services.feedback.refine import sums
from services.feedback.refine.search import Booleans, Floats

KEPT, DROPPED = 0, 1
Policy = tuple[Sequence[int], Sequence[int]]  # arms for the kept and for the dropped, mixed in equal parts


def allowance(alpha: float, attempt: int) -> float:
    """What attempt j of an experiment may spend: 6α/(π²j²), which sums to α over all attempts ever made.

    Raises
    ------
    ValueError
        If `attempt` is below 1.

    >>> round(allowance(0.05, 1), 4), round(allowance(0.05, 2), 4)
    (0.0304, 0.0076)
    """
    if attempt < 1:
        raise ValueError("Attempts count from 1.")
    return 6 * alpha / (pi * attempt) ** 2


def critical_value(alpha: float, correlation: float) -> float:
    """The one-sided bound c that two standard normals with this correlation both stay below with probability 1 - α.

    P(both ≤ c) = Φ(c) − 2·T(c, √((1−ρ)/(1+ρ))) with Owen's T (Owen 1956); solved by bisection.

    >>> round(critical_value(0.05, 1.0), 4), round(critical_value(0.05, 0.0), 4)
    (1.6449, 1.9545)
    """
    slope = np.sqrt((1 - correlation) / max(1 + correlation, 1e-12))
    low, high = float(ndtri(1 - alpha)), float(ndtri(1 - alpha / 2)) + 1e-9
    for _ in range(60):
        middle = (low + high) / 2
        if ndtr(middle) - 2 * owens_t(middle, slope) < 1 - alpha:
            low = middle
        else:
            high = middle
    return high


class Half(NamedTuple):
    """One half of the customers, kept and dropped.

    Figures (2, arms, 7), their means by arm, the variances of these, and the share of customers in each group.
    """

    sums: Floats
    means: Floats
    variances: Floats

    shares: Floats

    def only(self, group: int) -> "Half":
        """The same as if everyone were in this group, for effects per customer of the group."""
        return self._replace(shares=np.eye(2)[group])


def half(figures: Floats, kept: Booleans, arms: Sequence[int]) -> Half:
    """Add the cells up to the kept and the dropped; `arms` are those compared."""
    both = np.stack([figures[kept].sum(axis=0), figures[~kept].sum(axis=0)])
    n = sums.customers(both)
    return Half(both, sums.means(both), sums.variances(both, arms), np.asarray(n / n.sum()))


class Compared(NamedTuple):
    """A difference between two policies per customer of the half, and its standard error."""

    gain: float
    standard_error: float


def weights(shares: Floats, policy: Policy, size: int) -> Floats:
    """A policy as weights on the means (group, arm)."""
    table = np.zeros((2, size))
    for group, arms in enumerate(policy):
        table[group, list(arms)] = shares[group] / len(arms)
    return table


def compare(here: Half, policy: Policy, other: Policy, costs: Floats) -> Compared:
    """What one policy earns over another, net of contact costs.

    The groups' shares are those of this half: the question is about these customers.
    """
    contrast = weights(here.shares, policy, len(costs)) - weights(here.shares, other, len(costs))
    used = contrast != 0
    gain = float((contrast * np.where(used, here.means - costs, 0.0)).sum())
    return Compared(gain, float(np.sqrt((contrast**2 * np.where(used, here.variances, 0.0)).sum())))


def correlation(here: Half, policy: Policy, others: Sequence[Policy], size: int) -> float:
    """Correlation between the policy's gains over one or two others (1 for one)."""
    own = weights(here.shares, policy, size)
    one, *_, two = (own - weights(here.shares, other, size) for other in (others[0], *others))
    known = np.nan_to_num(here.variances)
    joint = float((one * two * known).sum())
    scale = float(np.sqrt((one**2 * known).sum() * (two**2 * known).sum()))
    return float(np.clip(joint / scale, -1, 1)) if scale > 0 else 1.0


def shrunken(estimate: float, standard_error: float) -> float:
    """The estimate drawn towards zero by its own uncertainty: e·max(0, 1 − se²/e²), the positive-part shrinkage.

    Only rules that looked good are confirmed, so a confirmed effect is still too rosy; forecasts use this one.

    >>> shrunken(2.0, 1.0), shrunken(0.5, 1.0)
    (1.5, 0.0)
    """
    return estimate * max(0.0, 1 - (standard_error / estimate) ** 2) if estimate else 0.0
