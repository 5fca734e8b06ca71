"""Seeded studentised randomisation test: deals the customers out again as they were dealt, and compares.

Under "nobody's value depends on the arm" every re-deal was as likely as the real one, so the p-value is exact whatever
the distribution; because the statistic is studentised it stays right, for large arms, when only the means are equal.
Customers with a zero change a re-deal only by their number, so a draw costs as much as there are non-zero customers.

Source: Chung & Romano (2013), Annals of Statistics 41:484-507; early stopping Besag & Clifford (1991), Biometrika
78:301-304; p = (1 + exceedances) / (1 + draws), Phipson & Smyth (2010).
"""

from collections.abc import Sequence
from math import inf, nan
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

CELLS_AT_ONCE = 2_000_000
MOST_CELLS = 150_000_000  # draws times non-zero customers: about a second where they are many
MANY = 1_000  # non-zero customers of a block from which on each draw is worth a step of its own
FEWEST_DRAWS = 2_000
FIRST_CHUNK = 100
TIE = 1e-9


class Block(NamedTuple):
    """One stratum: customers of both arms, and the values of those whose value is not zero."""

    control_size: int
    treatment_size: int
    control: Array
    treatment: Array


class Draw(NamedTuple):
    """How customers were dealt to the two arms, and what they did.

    Re-deals keep the numbers within each block: those of an exact split are fixed, and given the numbers that a hash
    split came to (one block, since it does not look at strata) each way of reaching them was as likely.
    `shift` is a known difference of treatment minus control that re-dealing does not move, such as the cost of contact.
    """

    blocks: Sequence[Block]
    shift: float = 0.0


class Randomisation(NamedTuple):
    """What re-dealing shows. `p_upper` is small when the treatment is better, `p_lower` when it is worse.

    `p_value` is two-sided, twice the smaller. `low` and `high` hold the effects that a test at `level` does not reject,
    the studentised quantiles being those of the re-deals: the p-value is at most `level` exactly when 0 is outside.
    """

    estimate: float
    standard_error: float
    statistic: float
    p_lower: float
    p_upper: float
    p_value: float
    low: float
    high: float
    draws: int


class _Sums(NamedTuple):
    """Sizes, sums and sums of squares by draw and block, shape (draws, blocks)."""

    sizes: Array
    values: Array
    squares: Array


def compare(
    draw: Draw, *, seed: int, draws: int = FEWEST_DRAWS, level: float = 0.05, stop_after: int | None = None
) -> Randomisation:
    """Compare the studentised difference with that of re-deals.

    Parameters
    ----------
    draw
        Blocks with fewer than two customers in an arm are put together first.
    seed
        The same seed gives the same answer.
    draws
        Re-deals, fewer if draws times non-zero customers would pass 150 million (never fewer than 2,000).
    level
        Two-sided, for the interval. Too few draws for it give an infinite interval.
    stop_after
        Stop once both tails hold this many re-deals; p-values stay exact, but there is no interval (nan).

    Raises
    ------
    ValueError
        If nobody was dealt, or sizes are smaller than the number of values.

    >>> rng = np.random.default_rng(1)
    >>> few, many = rng.lognormal(size=120), rng.lognormal(size=200)
    >>> found = compare(Draw([Block(5000, 5000, few, many)]), seed=7)
    >>> found.p_value < 0.01, found.low > 0, found.draws
    (True, True, 2000)
    """
    _check(draw)
    blocks = _usable(draw.blocks)
    observed = _Sums(
        np.array([[block.control_size for block in blocks]], dtype=np.float64),
        np.array([[block.control.sum() for block in blocks]], dtype=np.float64),
        np.array([[block.control @ block.control for block in blocks]], dtype=np.float64),
    )
    estimates, errors = _difference(blocks, observed)
    estimate, error = float(estimates[0]) + draw.shift, float(errors[0])
    if not error > 0:
        return Randomisation(estimate, error, nan, nan, nan, nan, nan, nan, 0)
    statistic = estimate / error
    dealt = _dealt(blocks, statistic, (seed, draws, stop_after))
    lower, upper = _tail(dealt <= statistic + TIE, stop_after), _tail(dealt >= statistic - TIE, stop_after)
    low, high = (nan, nan) if stop_after else _quantiles(dealt, level)
    p_value = min(1.0, 2 * min(lower, upper))
    return Randomisation(
        estimate, error, statistic, lower, upper, p_value, estimate - high * error, estimate - low * error, dealt.size
    )


def _dealt(blocks: Sequence[Block], statistic: float, rule: tuple[int, int, int | None]) -> Array:
    """Studentised statistics of the re-deals, until there are enough."""
    seed, draws, stop_after = rule
    rng = np.random.Generator(np.random.SFC64(seed))
    non_zero = max(1, sum(block.control.size + block.treatment.size for block in blocks))
    wanted = min(draws, max(FEWEST_DRAWS, MOST_CELLS // non_zero))
    at_once = max(1, CELLS_AT_ONCE // non_zero)
    found: list[Array] = []
    done = below = above = 0
    while done < wanted:
        chunk = min(at_once, wanted - done, max(FIRST_CHUNK, done) if stop_after else wanted)
        found.append(_studentised(blocks, rng, chunk))
        done += chunk
        below += int((found[-1] <= statistic + TIE).sum())
        above += int((found[-1] >= statistic - TIE).sum())
        if stop_after and min(below, above) >= stop_after:
            break
    return np.concatenate(found)


def _studentised(blocks: Sequence[Block], rng: np.random.Generator, chunk: int) -> Array:
    parts = [_redeal(block, rng, chunk) for block in blocks]
    sums = _Sums(*(np.stack([part[k] for part in parts], axis=1) for k in range(3)))
    estimates, errors = _difference(blocks, sums)
    return np.divide(estimates, errors, out=np.zeros_like(estimates), where=errors > 0)


def _redeal(block: Block, rng: np.random.Generator, chunk: int) -> tuple[Array, Array, Array]:
    """Size, sum and sum of squares of the control in each re-deal of one block, each of shape (chunk,)."""
    values = np.concatenate([block.control, block.treatment])
    zeros = block.control_size + block.treatment_size - values.size
    taken = rng.hypergeometric(values.size, zeros, block.control_size, size=chunk)
    powers = np.stack([values, values**2], axis=1)
    if values.size < MANY:
        sums = _few(rng, taken, values.size).astype(np.float64) @ powers
    else:
        sums = np.stack([_many(rng, int(each), values.size).astype(np.float64) @ powers for each in taken])
    return np.full(chunk, float(block.control_size)), sums[:, 0], sums[:, 1]


def _few(rng: np.random.Generator, taken: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.bool_]:
    """Who of `size` is taken, by draw: those with the smallest keys, all draws at once. Shape (draws, size)."""
    keys = rng.random((taken.size, size), dtype=np.float32)
    edges = np.concatenate([np.zeros((taken.size, 1), np.float32), np.sort(keys, axis=1)], axis=1)
    chosen: npt.NDArray[np.bool_] = keys <= edges[np.arange(taken.size), taken][:, None]
    return chosen & (taken > 0)[:, None]


def _many(rng: np.random.Generator, taken: int, size: int) -> npt.NDArray[np.bool_]:
    """Who of `size` is taken in one draw: those with the smallest keys of one byte, of the largest key some by lot.

    Every set of so many is as likely, as it is after a sort, which is what is slow where there are many.
    """
    keys = np.frombuffer(rng.bytes(size), dtype=np.uint8)
    so_far = np.cumsum(np.bincount(keys, minlength=256))
    edge = int(np.searchsorted(so_far, taken))
    chosen: npt.NDArray[np.bool_] = keys < edge
    alike = np.flatnonzero(keys == edge)
    chosen[rng.permutation(alike)[: taken - (int(so_far[edge - 1]) if edge else 0)]] = True
    return chosen


def _difference(blocks: Sequence[Block], control: _Sums) -> tuple[Array, Array]:
    """Estimate and standard error by draw, blocks weighted by their size; the error is nan if an arm is empty."""
    sizes = np.array([block.control_size + block.treatment_size for block in blocks], dtype=np.float64)
    values = np.array([block.control.sum() + block.treatment.sum() for block in blocks])
    squares = np.array([block.control @ block.control + block.treatment @ block.treatment for block in blocks])
    treatment = _Sums(sizes - control.sizes, values - control.values, squares - control.squares)
    weights = sizes / sizes.sum()
    control_mean, control_variance = _of_mean(control)
    treatment_mean, treatment_variance = _of_mean(treatment)
    variance = (control_variance + treatment_variance) @ weights**2
    return (treatment_mean - control_mean) @ weights, np.sqrt(np.where(variance > 0, variance, nan))


def _of_mean(sums: _Sums) -> tuple[Array, Array]:
    n = np.where(sums.sizes > 1, sums.sizes, nan)
    mean = sums.values / n
    return mean, (sums.squares - n * mean**2) / (n - 1) / n


def _tail(exceeds: npt.NDArray[np.bool_], stop_after: int | None) -> float:
    """Besag and Clifford's p-value: h / l if the h-th exceedance came at draw l, else (1 + count) / (1 + draws)."""
    where = np.flatnonzero(exceeds)
    if stop_after and where.size >= stop_after:
        return stop_after / float(where[stop_after - 1] + 1)
    return (1 + where.size) / (1 + exceeds.size)


def _quantiles(dealt: Array, level: float) -> tuple[float, float]:
    rank = int((dealt.size + 1) * level / 2 + TIE)
    if rank < 1:
        return -inf, inf
    ordered = np.sort(dealt)
    return float(ordered[rank - 1]), float(ordered[-rank])


def _usable(blocks: Sequence[Block]) -> list[Block]:
    """Blocks with two customers in each arm; smaller ones put together, with the largest if need be."""
    large = [block for block in blocks if min(block.control_size, block.treatment_size) > 1]
    small = [block for block in blocks if min(block.control_size, block.treatment_size) <= 1]
    if not small:
        return large
    rest = together(small)
    if min(rest.control_size, rest.treatment_size) > 1 or not large:
        return [*large, rest]
    biggest = max(range(len(large)), key=lambda k: large[k].control_size + large[k].treatment_size)
    return [*large[:biggest], together([large[biggest], rest]), *large[biggest + 1 :]]


def together(blocks: Sequence[Block]) -> Block:
    """All customers as one block; an empty one where there are no blocks."""
    none = [np.empty(0)]
    return Block(
        sum(block.control_size for block in blocks),
        sum(block.treatment_size for block in blocks),
        np.concatenate([block.control for block in blocks] or none),
        np.concatenate([block.treatment for block in blocks] or none),
    )


def _check(draw: Draw) -> None:
    if not draw.blocks:
        raise ValueError("nobody was dealt")
    for block in draw.blocks:
        if block.control.size > block.control_size or block.treatment.size > block.treatment_size:
            raise ValueError("more values than customers in a block")
