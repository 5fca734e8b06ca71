"""Bounds for one blast to a frozen list, where a look on day d tests the effect by day d on everyone.

The looks' statistics are jointly normal, but their increments are not independent: late responses come from other
customers than early ones. So the correlation is estimated, within arms, from the sums of y_d * y_d', where y_d is the
value as it was known at that look. A recount of what had *occurred* by then does as well only if the look waited until
nearly all of it had arrived: looks that wait for the usual arrival lag (99 %) hold their 5 %, looks that do not wait,
with half a day of mean lag, err in 8 % of campaigns, because a recount makes them seem more alike than they were.

Source: the normal probability of a box by sequential conditioning, Genz (1992), Journal of Computational and Graphical
Statistics 1:141-149, the new look first, the past ones backwards, on a
lattice with square roots of primes (Richtmyer).
"""

from collections.abc import Sequence
from functools import lru_cache
from math import inf, isfinite, sqrt
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

Array = npt.NDArray[np.float64]

POINTS = 128
INNER_NODES, TAIL_NODES, FINE_NODES = 29, 9, 1001
LEAST_VARIANCE = 1e-6  # of a look given the looks before: two looks on the same figures are almost one


class Products(NamedTuple):
    """One arm of one stratum: `n` customers, the sums of y_d over them, shape (k,), and of y_d * y_d', shape (k, k).

    y_d is a customer's value as known at look d.
    """

    n: int
    sums: Array
    products: Array


def correlation(strata: Sequence[tuple[Products, Products]]) -> Array:
    """Correlation between the looks' differences, from within-arm covariances.

    Parameters
    ----------
    strata
        (control, treatment) of each stratum; one pair without strata.

    Returns
    -------
    array, shape (k, k)
        Ones on the diagonal. A look without spread correlates with none.

    >>> early_and_late = Products(1000, np.array([10.0, 40.0]), np.array([[10.0, 10.0], [10.0, 40.0]]))
    >>> correlation([(early_and_late, early_and_late)]).round(3)
    array([[1.   , 0.492],
           [0.492, 1.   ]])
    """
    total = sum(arm.n for pair in strata for arm in pair)
    size = strata[0][0].sums.size
    covariance = np.zeros((size, size))
    for pair in strata:
        weight = (pair[0].n + pair[1].n) / total
        covariance += weight**2 * (_of_mean(pair[0]) + _of_mean(pair[1]))
    spread = np.sqrt(np.clip(np.diag(covariance), 0.0, None))
    scale = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)
    found: Array = np.clip(covariance * np.outer(scale, scale), -1.0, 1.0)
    np.fill_diagonal(found, 1.0)
    return found


def bounds(correlations: Array, increments: Sequence[float]) -> tuple[float, ...]:
    """Bounds of all looks on |Z|, one after the other; an increment of 0 gives an infinite bound.

    Five looks with independent increments and alpha t^2 have the bounds 3.0902 2.7141 2.4728 2.2799 2.1140:

    >>> t = np.arange(1, 6) / 5
    >>> shares = 0.05 * np.diff(np.concatenate([[0.0], t**2]))
    >>> found = bounds(np.sqrt(np.minimum.outer(t, t) / np.maximum.outer(t, t)), shares)
    >>> [round(bound, 2) for bound in found]
    [3.09, 2.71, 2.47, 2.28, 2.11]
    """
    found: list[float] = []
    for k, increment in enumerate(increments):
        found.append(next_bound(correlations[: k + 1, : k + 1], found, increment))
    return tuple(found)


def next_bound(correlations: Array, past_bounds: Sequence[float], increment: float) -> float:
    """The bound of one more look, the past ones being as they are.

    Parameters
    ----------
    correlations
        Of the past looks and this one, in order, shape (k, k).
    past_bounds
        k - 1 bounds; infinite for a look without a verdict.
    increment
        Alpha to spend now, two-sided. None to spend gives an infinite bound.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    if correlations.shape != (len(past_bounds) + 1,) * 2:
        raise ValueError(f"{len(past_bounds)} past bounds for correlations of shape {correlations.shape}")
    if not increment > 0:
        return inf
    kept = [k for k, bound in enumerate(past_bounds) if isfinite(bound)]
    if not kept:
        return float(-ndtri(increment / 2))
    matrix = correlations[np.ix_([*kept, len(past_bounds)], [*kept, len(past_bounds)])]
    return _solved(matrix, np.array([past_bounds[k] for k in kept]), increment)


def _of_mean(arm: Products) -> Array:
    """Covariance of the arm's means."""
    mean = arm.sums / arm.n
    found: Array = (arm.products / arm.n - np.outer(mean, mean)) / max(1, arm.n - 1)
    return found


def _cholesky(matrix: Array) -> Array:
    """Lower factor; a look that the ones before determine keeps a sliver of its own, and rows keep length one."""
    size = len(matrix)
    factor = np.zeros((size, size))
    for row in range(size):
        for column in range(row):
            rest = matrix[row, column] - factor[row, :column] @ factor[column, :column]
            factor[row, column] = rest / factor[column, column]
        factor[row, row] = sqrt(max(LEAST_VARIANCE, 1.0 - float(factor[row, :row] @ factor[row, :row])))
        factor[row] /= np.linalg.norm(factor[row])
    return factor


@lru_cache(maxsize=4)
def _lattice(dimensions: int) -> Array:
    """Points in the open unit cube, shape (dimensions, points)."""
    primes = [2]
    while len(primes) < dimensions:
        candidate = primes[-1] + 1
        while any(candidate % prime == 0 for prime in primes):
            candidate += 1
        primes.append(candidate)
    steps = np.sqrt(np.array(primes, dtype=np.float64))[:, None] * (np.arange(POINTS) + 0.5)
    folded: Array = np.abs(2 * (steps % 1) - 1)
    return folded


def _staying(factor: Array, past_bounds: Array, values: Array) -> Array:
    """Chance that all past looks stayed inside their bounds, given each value of the new look."""
    points = np.tile(_lattice(max(16, past_bounds.size)), (1, values.size))
    chance = np.ones(points.shape[1])
    normals = np.empty((past_bounds.size + 1, chance.size))
    normals[0] = np.repeat(values, POINTS)
    for k, bound in enumerate(past_bounds, start=1):
        centre = factor[k, :k] @ normals[:k]
        low: Array = ndtr((-bound - centre) / factor[k, k])
        width = ndtr((bound - centre) / factor[k, k]) - low
        chance *= width
        normals[k] = ndtri(np.clip(low + points[k - 1] * width, 1e-300, 1 - 1e-16))
    staying: Array = chance.reshape(values.size, POINTS).mean(axis=1)
    return staying


def _solved(matrix: Array, past_bounds: Array, increment: float) -> float:
    """Find c with P(past looks inside, |Z| >= c) = increment: the tail is integrated over Z, the rest sampled.

    The bound lies between the quantile that would hold if all past crossings came on top and the one if none did.
    """
    crossed = 2 * float(ndtr(-past_bounds).sum())
    lowest = max(0.0, float(-ndtri(min(1.0, increment + crossed) / 2)))
    highest = float(-ndtri(increment / 2))
    inner, outer = np.linspace(lowest, highest, INNER_NODES), np.linspace(highest, highest + 3, TAIL_NODES)
    coarse = np.concatenate([inner[:-1], outer])
    backwards = np.arange(len(matrix))[::-1]
    staying = _staying(_cholesky(matrix[np.ix_(backwards, backwards)]), past_bounds[::-1], coarse)
    fine = np.linspace(lowest, highest + 3, FINE_NODES)
    density = 2 * np.exp(-0.5 * fine**2) / np.sqrt(2 * np.pi) * np.interp(fine, coarse, staying)
    slices = (density[1:] + density[:-1]) / 2 * (fine[1] - fine[0])
    tail = np.concatenate([np.cumsum(slices[::-1])[::-1], [0.0]])
    return float(np.interp(-increment, -tail, fine))
