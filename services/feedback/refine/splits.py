"""The questions a rule may ask of one trait, each a set of codes, and how it is said in the segment language."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.feedback.refine.cells import Coding
from shared.contracts.base import JsonValue

Definition = dict[str, JsonValue]


class Split(NamedTuple):
    """A question about trait number `trait`: customers whose code + 1 is in `inside` answer yes (0 is missing)."""

    trait: int
    inside: tuple[bool, ...]
    operator: str
    value: JsonValue


class Codebook(NamedTuple):
    """All codes of all traits on one axis: trait j takes `width[j]` places from `start[j]`, the first for missing."""

    start: NDArray[np.int64]
    width: NDArray[np.int64]

    @property
    def size(self) -> int:
        """How many places there are."""
        return int(self.width.sum())

    def places(self, trait: int) -> slice:
        """The places of one trait."""
        return slice(int(self.start[trait]), int(self.start[trait] + self.width[trait]))


def codebook(codings: Sequence[Coding]) -> Codebook:
    """Lay the codes of all traits side by side."""
    width = np.array([coding.codes + 1 for coding in codings], dtype=np.int64)
    return Codebook(np.concatenate([[0], np.cumsum(width)[:-1]]).astype(np.int64), width)


def splits(
    codings: Sequence[Coding], book: Codebook, count: NDArray[np.float64], rank: NDArray[np.float64]
) -> list[Split]:
    """Every question worth asking.

    Numbers are cut at each of their cuts; categories ask for one value, or for the best few in the order of `rank`
    (net effect by code). Whoever has no value answers no; where some have none, both directions of a cut are asked
    for, and whether there is a value.
    """
    found: list[Split] = []
    for trait, coding in enumerate(codings):
        here, effect = count[book.places(trait)], rank[book.places(trait)]
        ask = (
            _of_number(trait, coding, missing=here[0] > 0)
            if coding.kind == "number"
            else _of_values(trait, coding, effect)
        )
        found += ask
        if here[0] > 0:
            found.append(Split(trait, (False, *[True] * coding.codes), "exists", None))
    return found


def _of_number(trait: int, coding: Coding, *, missing: bool) -> Iterator[Split]:
    for position, cut in enumerate(coding.cuts, start=1):
        above = [code >= position for code in range(coding.codes)]
        yield Split(trait, (False, *above), "gte", _plain(cut))
        if missing:
            yield Split(trait, (False, *(not it for it in above)), "lt", _plain(cut))


def _of_values(trait: int, coding: Coding, effect: NDArray[np.float64]) -> Iterator[Split]:
    best_first = np.argsort(-np.nan_to_num(effect[2:], nan=-np.inf), kind="stable")
    sets = [{int(code)} for code in range(len(coding.values))]
    if coding.kind == "category":
        sets += [{int(code) for code in best_first[:size]} for size in range(2, len(coding.values) - 1)]
    for chosen in sets:
        inside = (False, False, *(code in chosen for code in range(len(coding.values))))
        values = [coding.values[code] for code in sorted(chosen)]
        if coding.kind == "boolean":
            yield Split(trait, inside, "eq", values[0] == "true")
        else:
            yield Split(trait, inside, "eq" if len(values) == 1 else "in", values[0] if len(values) == 1 else values)


def _plain(cut: float) -> JsonValue:
    return int(cut) if cut == int(cut) else cut


def masks(found: Sequence[Split], book: Codebook) -> NDArray[np.float64]:
    """Array (splits, codes of all traits): 1 where a code answers yes."""
    table = np.zeros((len(found), book.size))
    for row, split in zip(table, found, strict=True):
        row[book.places(split.trait)] = split.inside
    return table


def answers(codes: NDArray[np.int64], split: Split) -> NDArray[np.bool_]:
    """Which cells answer yes."""
    return np.asarray(np.array(split.inside)[codes[:, split.trait] + 1])


_OPPOSITE = {"gte": "lt", "lt": "gte", "eq": "ne", "in": "not_in", "exists": "missing"}
_COMPLETE = {"eq", "in", "exists"}  # their opposites include whoever has no value; a comparison of numbers does not

_WORDS = {
    "gte": "is at least {}",
    "lt": "is below {}",
    "eq": "is {}",
    "ne": "is not {}",
    "in": "is one of {}",
    "not_in": "is none of {}",
    "exists": "is known",
    "missing": "is not known",
}


def clause(split: Split, yes: bool, coding: Coding, *, missing: bool) -> Definition:
    """The clause for answering yes or no; a plain no to a comparison where nobody lacks the value."""
    operator = split.operator if yes else _OPPOSITE[split.operator]
    if not yes and missing and split.operator not in _COMPLETE:
        return {"not": clause(split, True, coding, missing=missing)}
    found: Definition = {coding.source: coding.name, "is": operator}
    return found if split.value is None else found | {"value": split.value}


def words(split: Split, yes: bool, coding: Coding, *, missing: bool) -> str:
    """The same for people."""
    operator = split.operator if yes else _OPPOSITE[split.operator]
    unknown = " or not known" if not yes and missing and split.operator not in _COMPLETE else ""
    value = split.value
    if isinstance(value, bool):
        said = "yes" if value else "no"
    else:
        said = " or ".join(map(str, value)) if isinstance(value, list) else str(value)
    return f"{coding.name} {_WORDS[operator].format(said)}{unknown}"
