"""Kinds of event and their validation: what an event must hold, when it may have happened, and which one it is."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Literal
from uuid import UUID, uuid5

from shared.contracts.base import EARLIEST
from shared.contracts.feedback import Event, KindRule, NewKind, PropertyRule
from shared.errors import FieldError

Registry = Mapping[str, KindRule]

AHEAD = timedelta(hours=24)  # how far an event may lie after its arrival: clocks differ, time zones are mistaken
CATEGORY_LIMIT = 200
NAMESPACE = UUID("6f2a1e0c-3d0b-5c57-9a53-2f7f1c1f8a44")  # of the ids that events get when they come without one

TEXT = PropertyRule(type="text")
TIME = PropertyRule(type="time")
NUMBER = PropertyRule(type="number")
YES_OR_NO = PropertyRule(type="boolean")
NEEDED_TEXT = PropertyRule(type="text", required=True)
NOT_NEGATIVE = PropertyRule(type="number", minimum=0)
POSITIVE = PropertyRule(type="number", above=0)
HARD_OR_SOFT = PropertyRule(type="text", required=True, allowed=["hard", "soft"])
LATITUDE = PropertyRule(type="number", required=True, minimum=-90, maximum=90)
LONGITUDE = PropertyRule(type="number", required=True, minimum=-180, maximum=180)
SCALE = PropertyRule(type="number", minimum=0, maximum=10)

PRODUCT = {"product": TEXT, "quantity": POSITIVE}
SCOPE = {"brand": TEXT, "channel": TEXT, "purpose": TEXT}
MONEY = ("order", "order_line", "payment", "refund", "cancellation")


def _kind(
    source: Literal["business", "interactive", "sensor", "campaign"],
    name: str,
    description: str,
    properties: Mapping[str, PropertyRule] = MappingProxyType({}),
    *,
    required: tuple[Literal["value", "text"], ...] = (),
    value: PropertyRule | None = None,
    follows: Literal["nothing", "withdrawal", "withdrawal when hard"] = "nothing",
) -> KindRule:
    return KindRule(
        name=name,
        source=source,
        description=description,
        properties={"category": TEXT, **properties},
        required=list(required),
        value=value,
        follows=follows,
    )


def _well_known() -> list[KindRule]:
    money, order = ("value",), {"order_id": TEXT}
    return [
        _kind("business", "order", "A purchase; value is what it came to.", order, required=money, value=NOT_NEGATIVE),
        _kind("business", "order_line", "One line of a purchase; value is its amount, never free of charge.",
              {**order, **PRODUCT, "unit_price": POSITIVE}, required=money, value=POSITIVE),
        _kind("business", "payment", "Money received.", {**order, "method": TEXT}, required=money, value=NOT_NEGATIVE),
        _kind("business", "refund", "Money given back; value is the amount.", order, required=money, value=NOT_NEGATIVE),
        _kind("business", "cancellation", "A purchase or a line of it called off; value is the amount.",
              {**order, "product": TEXT, "quantity": NUMBER, "unit_price": NUMBER, "reason": TEXT}),
        _kind("business", "delivery", "A consignment on its way or arrived.",
              {**order, "status": TEXT, "promised_at": TIME, "delivered_at": TIME}),
        _kind("business", "service_case", "Someone needed help.", {**order, "topic": TEXT, "status": TEXT}),
        _kind("interactive", "view", "A page or product was looked at.", {"page": TEXT, "product": TEXT}),
        _kind("interactive", "click", "Something was clicked on a page.", {"page": TEXT, "product": TEXT}),
        _kind("interactive", "search", "Something was searched for.", {"query": TEXT}),
        _kind("interactive", "cart", "A cart was changed.", {**PRODUCT, "action": TEXT}),
        _kind("interactive", "post", "Something was said in public; text holds the words.", required=("text",)),
        _kind("interactive", "review", "An opinion on a product; value is the rating, 0 to 10.", PRODUCT, value=SCALE),
        _kind("interactive", "message", "A message to the company; text holds the words.", required=("text",)),
        _kind("sensor", "reading", "A measurement of a product in use; value is the figure.",
              {"sensor": NEEDED_TEXT, "unit": TEXT}, required=("value",)),
        _kind("sensor", "location", "Where the customer was.", {"latitude": LATITUDE, "longitude": LONGITUDE}),
        _kind("campaign", "sent", "A message went out.", SCOPE),
        _kind("campaign", "not_sent", "A message did not go out, with the reason.", {**SCOPE, "reason": NEEDED_TEXT}),
        _kind("campaign", "delivered", "A message arrived.", SCOPE),
        _kind("campaign", "bounced", "A message came back; a hard bounce closes the channel.",
              {**SCOPE, "bounce": HARD_OR_SOFT}, follows="withdrawal when hard"),
        _kind("campaign", "opened", "A message was opened, by a person or by a machine.", {"machine": YES_OR_NO}),
        _kind("campaign", "clicked", "A link in a message was followed.", {"link": TEXT, "machine": YES_OR_NO}),
        _kind("campaign", "converted", "What the campaign asked for was done.", value=NOT_NEGATIVE),
        _kind("campaign", "unsubscribed", "No more messages, please.", SCOPE, follows="withdrawal"),
        _kind("campaign", "complained", "A message was reported as unwanted.", SCOPE, follows="withdrawal"),
        _kind("campaign", "rated", "Satisfaction was asked for and given, 0 to 10.", required=("value",), value=SCALE),
    ]  # fmt: skip


WELL_KNOWN: Registry = MappingProxyType({rule.name: rule for rule in _well_known()})


def declared(name: str, new: NewKind) -> KindRule:
    """The rule of a kind that the installation declares. `category` is text for every kind: segments count by it."""
    return KindRule(
        name=name,
        source="custom",
        description=new.description,
        properties={**new.properties, "category": TEXT},
        required=new.required,
        value=new.value,
    )


def problems(event: Event, registry: Registry, received_at: datetime) -> list[FieldError]:
    """What keeps a well-formed event from being taken, most telling first; empty when nothing does."""
    rule = registry.get(event.kind)
    if rule is None:
        return [FieldError("/kind", f"the kind {event.kind} is not declared")]
    found = []
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
        return "must be an RFC 3339 time with a zone"
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
    return found.tzinfo is not None and found >= EARLIEST


def identified(event: Event, source_row: int | None) -> Event:
    """The event under its id. Without one it gets a UUIDv5 of its content and, in a file, of its row.

    So a file that is sent again is all duplicates, while two identical lines of it are two events.
    """
    if event.event_id is not None:
        return event
    content = json.dumps([source_row, event.model_dump(mode="json", exclude_none=True)], sort_keys=True)
    return event.model_copy(update={"event_id": str(uuid5(NAMESPACE, content))})
