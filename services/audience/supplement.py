"""How gaps are filled: which methods suit an attribute, and what each gives. Pure.

The database computes the same statistics over all customers; `fill_value` says what it must find.
"""

from collections import Counter
from collections.abc import Sequence
from statistics import fmean, median_low

from shared.contracts.audience import AttributeType, NewAttribute, Scalar, Supplement


def suits(method: str, definition: NewAttribute) -> bool:
    """A mean or median needs numbers; a mean may fall between the values of a list of allowed ones."""
    if method == "mean":
        return definition.type is AttributeType.NUMBER and not isinstance(definition.allowed, list)
    if method == "median":
        return definition.type is AttributeType.NUMBER
    return True


def fill_value(supplement: Supplement, known: Sequence[Scalar]) -> Scalar | None:
    """What gaps are filled with, given the known values; None where nothing is known yet.

    median: the lower middle value, so that it is one that occurs. mode: the most frequent value, of several the first
    in order (texts by code point, false before true).

    >>> fill_value(Supplement(method="median"), [1, 2, 10, 30])
    2
    >>> fill_value(Supplement(method="mode"), ["b", "a", "b", "a"])
    'a'
    """
    if supplement.method == "constant":
        return supplement.value
    if not known:
        return None
    if supplement.method == "mode":
        counts = Counter(known)
        most = max(counts.values())
        return min(value for value, count in counts.items() if count == most)
    numbers = [value for value in known if isinstance(value, int | float)]
    return fmean(numbers) if supplement.method == "mean" else median_low(numbers)
