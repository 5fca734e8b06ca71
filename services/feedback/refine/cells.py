"""Customers reduced to weighted cells: how features are cut into codes."""

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

MISSING = -1
OTHER = 0

HALF_SQL = "get_byte(sha256(convert_to(:salt || ':' || customer_id, 'UTF8')), 0) < 128"


def is_grow(customer_id: str, salt: str) -> bool:
    """Whether a customer is in the half that is searched; the others confirm. The salt is the experiment's key.

    One salt per experiment and not per proposal: later proposals must not re-deal the halves.
    """
    return hashlib.sha256(f"{salt}:{customer_id}".encode()).digest()[0] < 128


class FeatureProfile(NamedTuple):
    """What the assignments' frozen features look like, without their outcomes.

    Attributes
    ----------
    source
        Under which word the segment language knows it.
    present
        Customers who have a value.
    quantiles
        Of a number: existing values at any ascending probabilities (`percentile_disc`, deciles serve well).
    values
        Of a category or boolean: the most frequent values as text, most frequent first, with their customers.
    """

    name: str
    source: Literal["attribute", "trait"]
    kind: Literal["number", "category", "boolean"]
    present: int
    quantiles: tuple[float, ...] = ()
    values: tuple[tuple[str, int], ...] = ()


class Coding(NamedTuple):
    """How one feature becomes a small integer.

    A number gets the count of `cuts` that are not above it (`width_bucket`); a category or boolean the 1-based
    position in `values`, 0 for any other; whoever has no value gets -1.
    """

    name: str
    source: Literal["attribute", "trait"]
    kind: Literal["number", "category", "boolean"]
    cuts: tuple[float, ...] = ()
    values: tuple[str, ...] = ()

    @property
    def codes(self) -> int:
        """How many codes there are besides missing: they are 0 .. codes - 1."""
        return len(self.cuts) + 1 if self.kind == "number" else len(self.values) + 1


class Cells(NamedTuple):
    """Customers of one half of one code, arm and probability: arrays of one length.

    `codes` has a column per trait, `customers` says how many there are, `responders` how many of them responded,
    `total` and `squares` are the sums of the metric and of its squares.
    """

    codes: NDArray[np.int64]
    arm: NDArray[np.int64]
    probability: NDArray[np.float64]
    customers: NDArray[np.float64]
    responders: NDArray[np.float64]
    total: NDArray[np.float64]
    squares: NDArray[np.float64]


def cells_of(rows: Sequence[Sequence[float]], traits: int) -> Cells:
    """Make cells of rows (codes…, arm position, probability, count, responders, sum, sum of squares).

    Raises
    ------
    ValueError
        If a row has another length than `traits` + 6, or a probability is not inside (0, 1].
    """
    table = np.asarray(rows, dtype=np.float64) if len(rows) else np.empty((0, traits + 6))
    if table.ndim != 2 or table.shape[1] != traits + 6:
        raise ValueError(f"A cell has {traits} codes and 6 figures, not the shape {table.shape[1:]}.")
    arm, probability, *figures = table[:, traits:].T
    if not ((probability > 0) & (probability <= 1)).all():
        raise ValueError("Every probability must be above 0 and at most 1.")
    return Cells(table[:, :traits].astype(np.int64), arm.astype(np.int64), probability, *figures)


def codings(profiles: Sequence[FeatureProfile], customers: int, *, most: int = 12) -> tuple[Coding, ...]:
    """Choose the features worth searching, at most `most`, in the order given, and how each is cut.

    Left out are features that fewer than 2 % have (they could never make a leaf), those with one value only, and
    categories whose ten most frequent values cover less than half of those who have one (names, dates, free text).
    """
    chosen = (_coding(profile) for profile in profiles if profile.present >= 0.02 * customers)
    return tuple(coding for coding in chosen if coding is not None)[:most]


def _coding(profile: FeatureProfile) -> Coding | None:
    if profile.kind == "number":
        ordered = sorted(profile.quantiles)
        cuts = tuple(high for low, high in pairwise(ordered) if high > low)
        return Coding(profile.name, profile.source, "number", cuts=cuts) if cuts else None
    frequent = profile.values[:10]
    covered = sum(count for _, count in frequent)
    if len(profile.values) < 2 or 2 * covered < profile.present:
        return None
    return Coding(profile.name, profile.source, profile.kind, values=tuple(value for value, _ in frequent))
