"""Features of any kind into a design matrix: vectorised, deterministic, blind to the order of rows."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.experiments.uplift.data import Floats
from shared.contracts.base import JsonValue
from shared.magnitudes import is_countable

MOST_CATEGORIES = 20
RAREST = 0.005  # share of customers below which a category is not told apart


class Design(NamedTuple):
    """Array (customers, columns); `sources` names the feature that each column comes from."""

    matrix: Floats
    names: tuple[str, ...]
    sources: tuple[str, ...]


def columns_of(rows: Sequence[Mapping[str, JsonValue]]) -> dict[str, list[JsonValue]]:
    """Turn flat feature objects into columns, sorted by name; None where a row lacks the feature."""
    names = sorted({name for row in rows for name in row})
    return {name: [row.get(name) for row in rows] for name in names}


def encode(features: Mapping[str, Sequence[JsonValue]], customers: int) -> Design:
    """Encode columns of `customers` values each.

    Numbers and booleans stay numbers, a gap takes the median. Text becomes one column for each category that at least
    0.5 % have, the twenty most frequent at most; numbers mixed with text count as text. Whoever lacks a value is told
    apart by a column of its own. Numbers beyond `LARGEST`, which earlier releases took, are gaps.
    Columns that are constant, lists and objects are left out.

    Raises
    ------
    ValueError
        If a column has another length than `customers`.
    """
    encoded: list[tuple[str, str, Floats]] = []
    for source in sorted(features):
        if len(features[source]) != customers:
            raise ValueError(f"Feature {source} has {len(features[source])} values for {customers} customers.")
        columns = _encoded(source, features[source]) if customers else ()
        encoded += [(source, name, values) for name, values in columns if np.ptp(values) > 0]
    matrix = np.column_stack([values for *_, values in encoded]) if encoded else np.empty((customers, 0))
    return Design(matrix, tuple(name for _, name, _ in encoded), tuple(source for source, *_ in encoded))


def _encoded(source: str, values: Sequence[JsonValue]) -> Iterator[tuple[str, Floats]]:
    column = np.empty(len(values), dtype=object)
    column[:] = values
    kinds = set(map(type, values)) - {type(None)}
    if not kinds or not kinds <= {int, float, bool, str}:
        return
    texts = str in kinds
    missing = np.array([value is None or not (texts or is_countable(value)) for value in values], dtype=bool)
    if missing.all():
        return
    yield f"{source} is missing", missing.astype(np.float64)
    if texts:
        yield from _categories(source, column[~missing].astype(str), ~missing)
    else:
        numbers = np.full(len(values), np.nan)
        numbers[~missing] = column[~missing].astype(np.float64)
        yield source, np.where(missing, np.median(numbers[~missing]), numbers)


def _categories(source: str, present: NDArray[np.str_], known: NDArray[np.bool_]) -> Iterator[tuple[str, Floats]]:
    names, position, count = np.unique(present, return_inverse=True, return_counts=True)
    frequent = np.argsort(-count, kind="stable")[:MOST_CATEGORIES]
    for category in frequent[count[frequent] >= RAREST * len(known)]:
        marks = np.zeros(len(known))
        marks[known] = position == category
        yield f"{source} = {names[category]}", marks
