"""Group-sequential bounds for looks with independent increments: staggered sends, looked at as waves mature.

The looks' statistics Z_k = estimate / standard error have Cov(Z_j, Z_k) = sqrt(I_j / I_k) with I = 1 / se^2. Each look
spends its share of alpha; its bound c_k solves P(|Z_1| < c_1, ..., |Z_{k-1}| < c_{k-1}, |Z_k| >= c_k) = share.

Source: Armitage, McPherson & Rowe (1969), JRSS A 132:235-244; Lan & DeMets (1983), Biometrika 70:659-663; Jennison &
Turnbull (2000), Group Sequential Methods, chapter 19.
"""

from collections.abc import Sequence
from enum import StrEnum
from functools import lru_cache
from math import ceil, e, inf, isfinite, log, sqrt
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

Array = npt.NDArray[np.float64]

WIDEST = 8.0  # a bound beyond which nothing is left to integrate
LEAST_GROWTH = 0.005  # of information between looks; less is taken for this much, which only widens the bound
FEWEST_NODES, MOST_NODES = 48, 640


class Spending(StrEnum):
    """How much of alpha may be spent by a fraction t of the information."""

    QUADRATIC = "quadratic"
    OBRIEN_FLEMING = "obrien_fleming"
    POCOCK = "pocock"


class _Density(NamedTuple):
    """Sub-density of Z_k on paths that crossed no bound yet: nodes, and density times integration weight."""

    nodes: Array
    mass: Array


def spent(spending: Spending, fraction: float, alpha: float) -> float:
    """Alpha spent when a fraction of the planned information is reached, two-sided.

    Quadratic: alpha t^2. O'Brien-Fleming type: 4 (1 - Phi(z / sqrt t)), z the upper alpha/4 quantile. Pocock type:
    alpha ln(1 + (e - 1) t). A fraction above one counts as one.

    >>> [round(spent(kind, 0.5, 0.05), 5) for kind in Spending]
    [0.0125, 0.00305, 0.03101]
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha {alpha} is not between 0 and 1")
    t = min(1.0, fraction)
    if not t > 0:
        return 0.0
    if spending is Spending.QUADRATIC:
        return alpha * t * t
    if spending is Spending.POCOCK:
        return alpha * log(1 + (e - 1) * t)
    return 4 * float(ndtr(ndtri(alpha / 4) / sqrt(t)))


def bounds(information: Sequence[float], increments: Sequence[float]) -> tuple[float, ...]:
    """Bounds of all looks on |Z|, one after the other.

    Parameters
    ----------
    information
        1 / se^2 at each look, in any unit.
    increments
        Alpha that each look spends; 0 gives an infinite bound: a look without a verdict.

    >>> shares = [0.05 * (k * k - (k - 1) ** 2) / 25 for k in range(1, 6)]
    >>> [round(bound, 4) for bound in bounds([1, 2, 3, 4, 5], shares)]
    [3.0902, 2.7141, 2.4728, 2.2799, 2.114]
    """
    found: list[float] = []
    for k, increment in enumerate(increments):
        found.append(next_bound(information[: k + 1], found, increment))
    return tuple(found)


def next_bound(information: Sequence[float], past_bounds: Sequence[float], increment: float) -> float:
    """The bound of one more look, the past ones being as they are.

    Parameters
    ----------
    information
        1 / se^2 of the past looks and of this one. Information that shrank or hardly grew since the look before counts
        as grown by half a per cent.
    past_bounds
        One fewer than `information`; infinite for a look without a verdict.
    increment
        Alpha to spend now, two-sided. None to spend gives an infinite bound.

    Raises
    ------
    ValueError
        If the numbers of looks do not fit, or information is not above zero.
    """
    if len(information) != len(past_bounds) + 1:
        raise ValueError(f"{len(past_bounds)} past bounds for {len(information)} looks")
    if not increment > 0:
        return inf
    levels, previous = _looked_at(information, past_bounds)
    if not previous:
        return float(-ndtri(increment / 2))
    density = _first(previous[0])
    for k in range(1, len(previous)):
        density = _advanced(density, levels[k - 1], levels[k], previous[k])
    return _solved(density, levels[-2], levels[-1], increment)


def _looked_at(information: Sequence[float], past_bounds: Sequence[float]) -> tuple[list[float], list[float]]:
    """Growing information at the looks that had a bound and at this one; looks without a bound change nothing."""
    levels: list[float] = []
    for level, bound in zip(information, [*past_bounds, 0.0], strict=True):
        if not level > 0:
            raise ValueError(f"information {level} is not above zero")
        if isfinite(bound):
            levels.append(max(level, levels[-1] * (1 + LEAST_GROWTH)) if levels else level)
    return levels, [min(bound, WIDEST) for bound in past_bounds if isfinite(bound)]


@lru_cache(maxsize=32)
def _rule(nodes: int) -> tuple[Array, Array]:
    points, weights = np.polynomial.legendre.leggauss(nodes)
    return points, weights


def _nodes(bound: float, spread: float) -> tuple[Array, Array]:
    """Gauss-Legendre nodes and weights on [-bound, bound], fine enough for a kernel of this standard deviation."""
    wanted = ceil(bound / spread * 5 / 16) * 16
    points, weights = _rule(int(min(MOST_NODES, max(FEWEST_NODES, wanted))))
    return points * bound, weights * bound


def _first(bound: float) -> _Density:
    nodes, weights = _nodes(bound, 0.3)
    return _Density(nodes, weights * np.exp(-0.5 * nodes**2) / sqrt(2 * np.pi))


def _advanced(density: _Density, before: float, now: float, bound: float) -> _Density:
    """The sub-density one look later: Z_now given Z_before is normal with mean Z sqrt(before / now)."""
    slope = sqrt(before / now)
    spread = sqrt(1 - before / now)
    nodes, weights = _nodes(bound, spread)
    kernel = np.exp(-0.5 * ((nodes[:, None] - slope * density.nodes) / spread) ** 2)
    return _Density(nodes, weights * (kernel @ density.mass) / (spread * sqrt(2 * np.pi)))


def _solved(density: _Density, before: float, now: float, increment: float) -> float:
    centres = density.nodes * sqrt(before / now)
    spread = sqrt(1 - before / now)

    def excess(bound: float) -> float:
        outside = ndtr((-bound - centres) / spread) + ndtr((centres - bound) / spread)
        return float(outside @ density.mass) - increment

    if excess(WIDEST) >= 0:
        return WIDEST
    return float(brentq(excess, 0.0, WIDEST, xtol=1e-8)) if excess(0.0) > 0 else 0.0
