"""Kinds of event and their validation: what an event must hold, when it may have happened, and which one it is."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from shared.contact_data import holds_contact_data
from shared.contracts.base import EARLIEST, LATEST, NO_BLANKS
from shared.contracts.feedback import Event
from shared.contracts.kinds import TEXT, KindRule, NewKind, PropertyRule
from shared.errors import FieldError

Registry = Mapping[str, KindRule]

AHEAD = timedelta(hours=24)  # how far an event may lie after its arrival: clocks differ, time zones are mistaken
CATEGORY_LIMIT = 200
NAMESPACE = UUID("6f2a1e0c-3d0b-5c57-9a53-2f7f1c1f8a44")  # of the ids that events get when they come without one


def declared(name: str, new: NewKind) -> KindRule:
    """The rule of a kind that the installation declares. `category` is text for every kind: segments count by it."""
    return KindRule(
        name=name,
        source="custom",
        description=new.description,
        properties={"category": TEXT, **new.properties},
        required=new.required,
        value=new.value,
    )


def problems(event: Event, registry: Registry, received_at: datetime) -> list[FieldError]:
    """What keeps a well-formed event from being taken, most telling first; empty when nothing does."""
    rule = registry.get(event.kind)
    if rule is None:
        return [FieldError("/kind", f"the kind {event.kind} is not declared")]
    found = []
    if holds_contact_data(event.customer_id):
        found.append(FieldError("/customer_id", "must be your own id, not an e-mail address or telephone number"))
    if rule.follows == "nothing" and event.customer_id != event.customer_id.strip():
        found.append(FieldError("/customer_id", NO_BLANKS))  # who says no is heard under any id
    if event.occurred_at > received_at + AHEAD:
        found.append(FieldError("/occurred_at", "lies more than 24 hours in the future"))
    for name in rule.required:
        if getattr(event, name) is None:
            found.append(FieldError(f"/{name}", f"{event.kind} needs it"))
    if rule.value is not None and event.value is not None and (detail := _misfit(float(event.value), rule.value)):
        found.append(FieldError("/value", detail))
    _check_properties(event.properties or {}, rule, found)
    return found


def _check_properties(properties: Mapping[str, Any], rule: KindRule, found: list[FieldError]) -> None:
    for name, expected in rule.properties.items():
        value = properties.get(name)
        if value is None:
            if expected.required:
                found.append(FieldError(_place(name), f"{rule.name} needs it"))
        elif detail := _misfit(value, expected):
            found.append(FieldError(_place(name), detail))
    category = properties.get("category")
    if isinstance(category, str) and len(category) > CATEGORY_LIMIT:
        found.append(FieldError("/properties/category", f"must have at most {CATEGORY_LIMIT} characters"))


def _place(name: str) -> str:
    return f"/properties/{name.replace('~', '~0').replace('/', '~1')}"


def _misfit(value: Any, expected: PropertyRule) -> str:
    """Why `value` is not what a property holds, or the empty string."""
    kind = expected.type
    if kind == "number":
        return _number_misfit(value, expected)
    if kind == "boolean":
        return "" if isinstance(value, bool) else "must be true or false"
    if not isinstance(value, str):
        return f"must be a {kind}"
    if kind == "time" and not _is_time(value):
        return "must be an RFC 3339 time with a zone, between the years 2000 and 2200"
    if expected.allowed is not None and value not in expected.allowed:
        return f"must be one of {', '.join(expected.allowed)}"
    return ""


def _number_misfit(value: Any, expected: PropertyRule) -> str:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return "must be a number"
    if expected.above is not None and not value > expected.above:
        return f"must be greater than {expected.above:g}"
    if expected.minimum is not None and not value >= expected.minimum:
        return f"must be at least {expected.minimum:g}"
    if expected.maximum is not None and not value <= expected.maximum:
        return f"must be at most {expected.maximum:g}"
    return ""


def _is_time(text: str) -> bool:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return False
    return found.tzinfo is not None and EARLIEST <= found < LATEST


def identified(event: Event, source_row: int | None) -> Event:
    """The event under its id. Without one it gets a UUIDv5 of its content and, in a file, of its row.

    So a file that is sent again is all duplicates, while two identical lines of it are two events.
    """
    if event.event_id is not None:
        return event
    content = json.dumps([source_row, event.model_dump(mode="json", exclude_none=True)], sort_keys=True)
    return event.model_copy(update={"event_id": str(uuid5(NAMESPACE, content))})
