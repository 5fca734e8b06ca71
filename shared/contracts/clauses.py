"""The segment language as it travels: a tree of clauses that is read, limited and refused here.

A definition is a tree of clauses. Which clause an object is, its key says: `{"attribute": …}`, `{"all": […]}`. What a
clause means exactly stands with its class; every clause is true or false of one customer, never unknown.
"""

import json
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Annotated, Any, Literal, TypeAlias
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WrapValidator,
    model_validator,
)

from shared.contracts.audience import AttributeName
from shared.contracts.base import Instant, Key, Message, refuse_at
from shared.contracts.comparisons import (
    MAX_DAYS,
    ORDERING,
    AnyValue,
    Comparison,
    Operator,
    PropertyName,
    absent,
    shape_error,
)
from shared.contracts.permissions import ConsentState
from shared.contracts.scopes import FoldedKey

MAX_DEPTH = 10
MAX_CLAUSES = 200
MAX_BYTES = 64 * 1024
Place: TypeAlias = tuple[str | int, ...]
PERMITTING = tuple(state for state in ConsentState if state.permits)


class Measure(StrEnum):
    """What is measured over a customer's matching events.

    Without one, `count`, `sum` and `distinct` are 0 and the others do not exist (a comparison with them is false).
    `sum`, `avg`, `min` and `max` look at numbers, by default the event's value. `first` and `last` are when it
    happened, or with `of` that property's value in the first or last event that has it. `days_since_last` counts
    whole days of 24 hours up to the moment of evaluation.
    """

    COUNT = "count"
    SUM = "sum"
    AVG = "avg"
    MIN = "min"
    MAX = "max"
    DISTINCT = "distinct"
    FIRST = "first"
    LAST = "last"
    DAYS_SINCE_LAST = "days_since_last"


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError("must be a time zone of the IANA database, such as Europe/Paris") from error
    return name


EventKind = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,59}$")]
Zone = Annotated[str, StringConstraints(min_length=1, max_length=60), AfterValidator(_zone)]
Days = Annotated[float, Field(gt=0, le=MAX_DAYS, strict=True)]
CutoffName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,99}:[A-Za-z0-9][A-Za-z0-9_.\-]{0,99}$")]


class All(Message):
    """Every one of these clauses holds."""

    all: list["Clause"] = Field(min_length=1, max_length=MAX_CLAUSES)


class AnyOf(Message):
    """At least one of these clauses holds."""

    any: list["Clause"] = Field(min_length=1, max_length=MAX_CLAUSES)


class Not(Message):
    """This clause does not hold. The exact complement: it includes customers of whom nothing is known."""

    model_config = ConfigDict(serialize_by_alias=True)

    not_: "Clause" = Field(alias="not")


class AttributeClause(Comparison):
    """A comparison with an attribute, by the type that the catalogue gives it.

    Supplemented values count only with `filled`. Calendar days (of dates) are those of `zone`.
    """

    attribute: AttributeName
    filled: bool = Field(default=False, strict=True, exclude_if=lambda filled: not filled)
    zone: Zone = Field(default="UTC", exclude_if=lambda zone: zone == "UTC")


class TraitClause(Message):
    """A comparison with a derived trait: with a value, or with a stored cut-off (`"cutoff": "clv_12m:top20"`)."""

    model_config = ConfigDict(serialize_by_alias=True)

    trait: AttributeName
    is_: Operator = Field(alias="is")
    value: AnyValue = Field(default=None, exclude_if=absent)
    cutoff: CutoffName | None = Field(default=None, exclude_if=absent)

    @model_validator(mode="after")
    def _compares_with_one_thing(self) -> "TraitClause":
        if self.cutoff is None:
            wrong = shape_error(self.is_, self.value)
            if wrong:
                refuse_at(("value",), wrong, self.value)
        elif self.value is not None:
            refuse_at(("cutoff",), "name either a value or a cut-off", self.cutoff)
        elif self.is_ not in ORDERING[:4]:
            refuse_at(("is",), "with a cut-off must be lt, lte, gt or gte", self.is_)
        return self


class Period(Message):
    """A calendar period in a zone: offset 0 is the one that holds the moment of evaluation, -1 the one before."""

    calendar: Literal["day", "week", "month", "quarter", "year"]
    offset: int = Field(default=0, le=0, ge=-1200, strict=True)
    zone: Zone = "UTC"


class EventClause(Message):
    """A measure over a customer's events of one kind, compared with a value; alone: at least one such event.

    `where` holds of each event that counts. The window, at most one: `within_days` d is the last d · 24 hours,
    `between_ago` [a, b] from a to b days before, `between` two instants, `during` a calendar period, `ever`
    (the default) all time. Every window is [from, to) and ends by the moment of evaluation.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    event: EventKind
    where: dict[PropertyName, Comparison] = Field(
        default_factory=dict, max_length=20, exclude_if=lambda where: not where
    )
    measure: Measure = Field(default=Measure.COUNT, exclude_if=lambda measure: measure is Measure.COUNT)
    of: PropertyName | None = Field(default=None, exclude_if=absent)
    is_: Operator | None = Field(default=None, alias="is", exclude_if=absent)
    value: AnyValue = Field(default=None, exclude_if=absent)
    within_days: Days | None = Field(default=None, exclude_if=absent)
    between_ago: tuple[Days, Annotated[float, Field(ge=0, le=MAX_DAYS, strict=True)]] | None = Field(
        default=None, exclude_if=absent
    )
    between: tuple[Instant, Instant] | None = Field(default=None, exclude_if=absent)
    during: Period | None = Field(default=None, exclude_if=absent)
    ever: Literal[True] | None = Field(default=None, exclude_if=absent)

    @model_validator(mode="after")
    def _fits_together(self) -> "EventClause":
        named = [name for name in WINDOWS if getattr(self, name) is not None]
        if len(named) > 1:
            refuse_at((named[1],), f"a clause has one window; this one has {named[0]} too", named)
        for name in ("between_ago", "between"):
            window = getattr(self, name)
            if window is not None and (window[0] <= window[1] if name == "between_ago" else window[0] >= window[1]):
                refuse_at((name,), "must begin before it ends", window)
        self._measure_fits()
        return self

    def _measure_fits(self) -> None:
        if self.is_ is None:
            if self.measure is not Measure.COUNT or self.value is not None:
                refuse_at(("is",), "says how the measure compares with the value", None)
        elif wrong := shape_error(self.is_, self.value):
            refuse_at(("value",), wrong, self.value)
        if self.measure is Measure.DISTINCT and self.of is None:
            refuse_at(("of",), "names the property whose distinct values are counted", None)
        if self.measure in (Measure.COUNT, Measure.DAYS_SINCE_LAST) and self.of is not None:
            refuse_at(("of",), f"{self.measure} is of events, not of a property", self.of)


WINDOWS = ("within_days", "between_ago", "between", "during", "ever")


class SegmentClause(Message):
    """The customer is in this other segment, by key or id, as it is defined when evaluated."""

    segment: Key


class ConsentClause(Message):
    """What the customer's consent for a channel and purpose is; by default: one that permits contact."""

    consent: FoldedKey
    purpose: FoldedKey
    brand: Key = "default"
    state: tuple[ConsentState, ...] = Field(default=PERMITTING, min_length=1, max_length=len(ConsentState))


CLAUSES: dict[str, type[BaseModel]] = {
    "all": All,
    "any": AnyOf,
    "not": Not,
    "attribute": AttributeClause,
    "trait": TraitClause,
    "event": EventClause,
    "segment": SegmentClause,
    "consent": ConsentClause,
}
PLANNED = ("sequence", "near", "text", "experiment")


def _by_key(given: Any, _: Any) -> BaseModel:
    """Read a clause as what its key says. Errors keep the exact place in the input."""
    if isinstance(given, BaseModel):
        return given
    if not isinstance(given, dict):
        raise ValueError('must be an object, a clause such as {"attribute": …}')
    for key in PLANNED:
        if key in given:
            refuse_at((key,), f"`{key}` clauses are not supported by this version", given[key])
    named = [key for key in CLAUSES if key in given]
    if len(named) == 1:
        return CLAUSES[named[0]].model_validate(given)
    if named:
        raise ValueError(f"is two clauses at once, {named[0]} and {named[1]}")
    for key in given:
        refuse_at((str(key),), f"is not a clause; a clause has one of the keys {', '.join(CLAUSES)}", key)
    raise ValueError(f"must have one of the keys {', '.join(CLAUSES)}")


Clause: TypeAlias = Annotated[
    All | AnyOf | Not | AttributeClause | TraitClause | EventClause | SegmentClause | ConsentClause,
    WrapValidator(_by_key),
]


def _within_limits(given: Any) -> Any:
    """Refuse what is too deep, too many or too long before anything walks it by recursion."""
    if isinstance(given, BaseModel):
        return given
    _limit_nesting(given)
    _limit_clauses(given)
    try:
        size = len(json.dumps(given, ensure_ascii=False, default=str).encode("utf-8", "surrogatepass"))
    except ValueError as error:
        raise ValueError("must be JSON") from error
    if size > MAX_BYTES:
        raise ValueError(f"must not exceed {MAX_BYTES:,} bytes")
    return given


def _limit_nesting(given: Any) -> None:
    level = [given]
    for _ in range(4 * MAX_DEPTH):
        level = [item for node in level for item in _inside(node)]
    if level:
        raise ValueError("is nested too deep")


def _inside(node: Any) -> Iterable[Any]:
    if isinstance(node, dict):
        return node.values()
    return node if isinstance(node, list) else ()


def _limit_clauses(given: Any) -> None:
    waiting: list[tuple[Any, Place]] = [(given, ())]
    clauses = 0
    while waiting:
        node, place = waiting.pop()
        clauses += 1
        if clauses > MAX_CLAUSES:
            raise ValueError(f"must not have more than {MAX_CLAUSES} clauses")
        depth = 1 + sum(isinstance(part, str) for part in place)
        if depth > MAX_DEPTH:
            refuse_at(place, f"is nested deeper than {MAX_DEPTH} clauses", None)
        waiting += _below(node, place)


def _below(node: Any, place: Place) -> Iterator[tuple[Any, Place]]:
    if not isinstance(node, dict):
        return
    for key in ("all", "any"):
        if isinstance(node.get(key), list):
            yield from ((item, (*place, key, index)) for index, item in enumerate(node[key]))
    if "not" in node:
        yield node["not"], (*place, "not")


Definition: TypeAlias = Annotated[Clause, BeforeValidator(_within_limits)]

for _model in (All, AnyOf, Not):
    _model.model_rebuild()
