"""What is wrong with a metric: kinds of event or properties that do not exist, addresses of somebody. Pure."""

from collections.abc import Iterator, Mapping
from typing import Literal

from shared.contact_data import holds_contact_data, texts
from shared.contracts.base import NO_ADDRESS
from shared.contracts.comparisons import OF_TEXT, ORDERING, PRESENCE, Comparison
from shared.contracts.kinds import MONEY as OF_MONEY
from shared.contracts.kinds import WELL_KNOWN
from shared.contracts.metrics import MONEY, NewMetric
from shared.errors import FieldError

Type = Literal["text", "number", "boolean", "time"]
Kinds = Mapping[str, Mapping[str, Type]]  # types of the properties that each kind of event declares

_WITHOUT_MONEY = WELL_KNOWN.keys() - OF_MONEY - {"converted"}
"""Kinds whose value, if they have one, is a rating or a measurement. What an installation declares may be money."""
_OF_EVERY_KIND: Mapping[str, Type] = {"category": "text"}
_A = {"text": "text", "number": "a number", "boolean": "true or false", "time": "a time"}


def faults(new: NewMetric, kinds: Kinds) -> list[FieldError]:
    """What is wrong with a metric; pointers into it.

    A condition of the metric's own holds for every counted event, so every kind must declare its property. What none
    declares would never be true, and the metric zero without a word.

    >>> order = {"order": {"order_id": "text"}}
    >>> metric = {"key": "a", "kind": "count", "window_days": 7}
    >>> faults(NewMetric(**metric, event="ordre"), order)
    [FieldError(pointer='/event', detail='there is no kind of event ordre')]
    """
    counted = new.events or []
    places = {f"/events/{index}": each for index, each in enumerate(counted)}
    named = [("/event", new.event)] if new.event else [(f"{place}/event", each.event) for place, each in places.items()]
    unknown = [FieldError(place, f"there is no kind of event {name}") for place, name in named if name not in kinds]
    if unknown:
        return unknown
    names = [name for _, name in named if name]
    if new.kind in MONEY and new.value is None:
        moneyless = [(place, name) for place, name in named if name in _WITHOUT_MONEY]
        if moneyless:
            return [FieldError(place, f"the value of {name} is no money") for place, name in moneyless]
    found = [fault for name in names for fault in _conditions(name, new.where, kinds[name], "/where")]
    for place, each in places.items():
        found += _conditions(each.event, each.where, kinds[each.event], f"{place}/where")
    if new.value is not None:
        found += [fault for name in names for fault in _value(name, new.value, kinds[name])]
    return list(dict.fromkeys(found))


def addresses(new: NewMetric) -> list[FieldError]:
    """Where a metric holds an address of somebody: every reader of results would be told it."""
    told = new.model_dump(mode="json", by_alias=True, include={"name", "where", "events"})
    return [FieldError(place, NO_ADDRESS) for place, text in texts(told) if holds_contact_data(text)]


def _conditions(
    event: str, where: Mapping[str, Comparison], declared: Mapping[str, Type], place: str
) -> Iterator[FieldError]:
    for name, comparison in where.items():
        pointer = f"{place}/{name.replace('~', '~0').replace('/', '~1')}"
        known = {**_OF_EVERY_KIND, **declared}.get(name)
        if known is None:
            yield FieldError(pointer, _undeclared(event, name))
        elif wrong := _unlike(name, known, comparison):
            yield FieldError(pointer + wrong[0], wrong[1])


def _unlike(name: str, declared: Type, comparison: Comparison) -> tuple[str, str] | None:
    """Where and why a comparison can never hold of a property of this type."""
    operator, value = comparison.is_, comparison.value
    if operator in PRESENCE:
        return None
    if declared == "time":
        return "/is", f"{name} is a time, which can only exist or be missing"
    wanted = "text" if operator in OF_TEXT else "number" if operator in ORDERING else declared
    if wanted != declared:
        return "/is", f"{operator} compares {_A[wanted]}; {name} is {_A[declared]}"
    items = value if isinstance(value, list) else [value]
    if any(_type_of(item) != declared for item in items):
        return "/value", f"must be {_A[declared]}, as {name} is"
    return None


def _type_of(value: object) -> Type:
    if isinstance(value, bool):
        return "boolean"
    return "text" if isinstance(value, str) else "number"


def _value(event: str, name: str, declared: Mapping[str, Type]) -> Iterator[FieldError]:
    known = declared.get(name)
    if known is None:
        yield FieldError("/value", _undeclared(event, name))
    elif known != "number":
        yield FieldError("/value", f"only numbers are added up; {name} is {_A[known]}")


def _undeclared(event: str, name: str) -> str:
    return f"{event} declares no property {name}, so nothing is known to come in it"
