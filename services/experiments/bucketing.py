"""One customer, one arm, through every door: the published scheme of the GrowthBook clients, and exact splits.

A bucket is a number in [0, 1) computed from a seed and the customer's id by FNV-1a (32 bit) over UTF-16 code units.
Every arm owns a half-open range of buckets. The scalar and the vectorised forms agree on every input.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

_BASIS = 2166136261
_PRIME = 16777619
_MASK = 0xFFFFFFFF
NO_ARM = -1


class Range(NamedTuple):
    """Buckets from `low` up to, and without, `high`."""

    low: float
    high: float


def fnv(text: str, start: int = _BASIS) -> int:
    """FNV-1a, 32 bit, over the UTF-16 code units of `text`; `start` continues an earlier hash.

    >>> fnv("a") == fnv("", start=fnv("a")) == 3826002220
    True
    """
    units = memoryview(text.encode("utf-16-le", "surrogatepass")).cast("H")
    found = start
    for unit in units:
        found = ((found ^ unit) * _PRIME) & _MASK
    return found


def bucket(seed: str, value: str, version: int = 2) -> float:
    """Where `value` (a customer's id) falls in [0, 1), in steps of 1/10,000 (version 1: 1/1,000).

    Version 2 is ours; version 1 only serves experiments that began elsewhere, because its layers are not independent.

    Raises
    ------
    ValueError
        For another version.

    Source
    ------
    GrowthBook SDK specification, "hash". Its known answers:

    >>> bucket("seed", "a"), bucket("foo", "ab"), bucket("b", "a", version=1)
    (0.0505, 0.2575, 0.946)
    """
    if version == 2:
        return (fnv(str(fnv(seed + value))) % 10_000) / 10_000
    if version == 1:
        return (fnv(value + seed) % 1_000) / 1_000
    raise ValueError(f"there is no hash version {version}")


def ranges(weights: Sequence[float], coverage: float = 1.0) -> list[Range]:
    """The range of each arm. Raising the coverage only grows ranges, so a ramp moves nobody.

    >>> ranges([0.5, 0.5], coverage=0.5)
    [Range(low=0.0, high=0.25), Range(low=0.5, high=0.75)]
    """
    found, low = [], 0.0
    for weight in weights:
        found.append(Range(low, low + coverage * weight))
        low += weight
    return found


def arm_of(found: float, of: Sequence[Range]) -> int:
    """The index of the range that holds a bucket, or `NO_ARM`."""
    return next((index for index, (low, high) in enumerate(of) if low <= found < high), NO_ARM)


def hashes(values: Sequence[str], start: int = _BASIS, suffix: str = "") -> NDArray[np.uint32]:
    """`fnv(value + suffix, start)` of each value, vectorised: one pass over the columns of characters."""
    units, lengths = _units(values)
    order = np.argsort(-lengths, kind="stable")
    offsets = (np.cumsum(lengths) - lengths)[order]
    found = np.full(len(values), start, dtype=np.uint32)
    longer = len(values) - np.searchsorted(np.sort(lengths), np.arange(lengths.max(initial=0)), side="right")
    for position, count in enumerate(longer):
        part = found[:count]
        part ^= units[offsets[:count] + position]
        part *= np.uint32(_PRIME)
    for unit in memoryview(suffix.encode("utf-16-le", "surrogatepass")).cast("H"):
        found ^= np.uint32(unit)
        found *= np.uint32(_PRIME)
    answer = np.empty_like(found)
    answer[order] = found
    return answer


def _units(values: Sequence[str]) -> tuple[NDArray[np.uint32], Integers]:
    text = "".join(values)
    units = np.frombuffer(text.encode("utf-16-le", "surrogatepass"), dtype="<u2").astype(np.uint32)
    if len(units) == len(text):
        lengths = np.fromiter(map(len, values), dtype=np.int64, count=len(values))
    else:
        sizes = (len(value.encode("utf-16-le", "surrogatepass")) // 2 for value in values)
        lengths = np.fromiter(sizes, dtype=np.int64, count=len(values))
    return units, lengths


def _decimal_hashes(numbers: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """`fnv(str(number))` of each number."""
    found = np.full(len(numbers), _BASIS, dtype=np.uint32)
    for power in range(9, -1, -1):
        written = (numbers >= np.uint32(10**power)) | (power == 0)
        digits = (numbers // np.uint32(10**power)) % np.uint32(10) + np.uint32(ord("0"))
        found = np.where(written, (found ^ digits) * np.uint32(_PRIME), found)
    return found


def buckets(seed: str, values: Sequence[str], version: int = 2) -> Floats:
    """`bucket(seed, value, version)` of each value, vectorised. Raises `ValueError` for another version."""
    if version == 2:
        return (_decimal_hashes(hashes(values, start=fnv(seed))) % 10_000).astype(np.float64) / 10_000
    if version == 1:
        return (hashes(values, suffix=seed) % 1_000).astype(np.float64) / 1_000
    raise ValueError(f"there is no hash version {version}")


def arms_of(found: Floats, of: Sequence[Range]) -> Integers:
    """`arm_of` of each bucket, vectorised."""
    arms = np.full(len(found), NO_ARM, dtype=np.int64)
    for index in range(len(of) - 1, -1, -1):
        low, high = of[index]
        arms[(found >= low) & (found < high)] = index
    return arms


def draw_order(seed: str, values: Sequence[str]) -> NDArray[np.uint32]:
    """A 32-bit number for each value by which an exact split orders a stratum (ties: the list's own order).

    The version-2 hash, with the finishing steps of MurmurHash3, because FNV-1a alone mixes its upper bits poorly.
    """
    found = _decimal_hashes(hashes(values, start=fnv(seed)))
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        found ^= found >> np.uint32(shift)
        found *= np.uint32(factor)
    mixed: NDArray[np.uint32] = found ^ (found >> np.uint32(16))
    return mixed


def largest_remainder(total: int, weights: Sequence[float]) -> Integers:
    """Whole numbers that sum to `total` and stand to each other as `weights` do (Hamilton's method).

    >>> largest_remainder(10, [0.5, 0.25, 0.25]).tolist()
    [5, 3, 2]
    """
    quotas = total * np.asarray(weights, dtype=np.float64) / np.sum(weights)
    counts: Integers = np.floor(quotas + 1e-9).astype(np.int64)
    missing = total - int(counts.sum())
    counts[np.argsort(counts - quotas, kind="stable")[:missing]] += 1
    return counts


def exact_counts(sizes: Sequence[int], weights: Sequence[float]) -> Integers:
    """Customers by stratum (rows) and arm (columns): rows sum to `sizes`, columns to the largest remainders of all.

    What is left after rounding down in each stratum goes to the arms that lack most, at most one to an arm and
    stratum (the construction of Gale and Ryser), so every cell is within one of its quota.
    """
    shares = np.asarray(weights, dtype=np.float64) / np.sum(weights)
    counts = np.floor(np.outer(sizes, shares) + 1e-9).astype(np.int64)
    lacking = largest_remainder(int(np.sum(sizes)), weights) - counts.sum(axis=0)
    for row, size in enumerate(sizes):
        extra = np.argsort(-lacking, kind="stable")[: size - int(counts[row].sum())]
        counts[row, extra] += 1
        lacking[extra] -= 1
    return counts


def exact_arms(
    seed: str, order: NDArray[np.uint32], strata: Integers, names: Sequence[str], weights: Sequence[float]
) -> Integers:
    """The arm of each member of a frozen list: exact counts within each stratum, the draw fixed by the seed.

    Parameters
    ----------
    seed
        The experiment's; it also decides which strata are dealt their remainders first.
    order
        `draw_order` of each member, shape (n,).
    strata
        Index into `names` for each member, shape (n,).
    names, weights
        The strata's names; the arms' weights.

    Returns
    -------
    Integers
        Index of the arm, shape (n,).
    """
    turn = np.argsort([fnv(str(fnv(f"{seed}:{name}"))) for name in names], kind="stable")
    sizes = np.bincount(strata, minlength=len(names))
    counts = np.empty((len(names), len(weights)), dtype=np.int64)
    counts[turn] = exact_counts(sizes[turn].tolist(), weights)
    by_draw = np.lexsort((order, strata))
    arms = np.empty(len(order), dtype=np.int64)
    arms[by_draw] = np.repeat(np.tile(np.arange(len(weights)), len(names)), counts.ravel())
    return arms
