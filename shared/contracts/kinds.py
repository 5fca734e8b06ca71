"""The kinds of event that every installation knows: where they come from, what they hold, what follows from them."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from shared.contact_data import holds_contact_data
from shared.contracts.base import NO_ADDRESS, Flag, Message, Number, Text, WithoutAddress, WithoutNul, refuse_at
from shared.contracts.feedback import Kind

Needed = Literal["value", "currency", "text", "campaign", "target_list", "experiment", "arm"]
Follows = Literal["nothing", "withdrawal", "withdrawal when hard"]


class PropertyRule(Message):
    """What one property of a kind holds. `minimum` and `maximum` bound a number; `above` is an open lower bound."""

    type: Literal["text", "number", "boolean", "time"]
    required: Flag = False
    minimum: Number | None = None
    maximum: Number | None = None
    above: Number | None = None
    allowed: Annotated[list[Text], Field(max_length=200)] | None = None


Description = Annotated[str, StringConstraints(max_length=1000), WithoutNul]


class KindContent(Message):
    """What can be said of a kind of event. Properties it does not name may hold any JSON."""

    description: Description = ""
    properties: dict[Annotated[str, StringConstraints(min_length=1, max_length=100), WithoutNul], PropertyRule] = Field(
        default_factory=dict
    )
    required: list[Needed] = Field(default_factory=list)
    value: PropertyRule | None = None


class NewKind(KindContent):
    """A kind of event that an installation declares for itself. Properties it does not name may hold any JSON.

    Rules that no event or every event would keep are refused, and so are addresses; such as are stored already can
    still be read.
    """

    description: Annotated[Description, WithoutAddress] = ""

    @model_validator(mode="after")
    def _can_be_kept(self) -> Self:
        for name, rule in self.properties.items():
            if holds_contact_data(name):
                refuse_at(("properties",), f"the name of a property {NO_ADDRESS}")
            if any(map(holds_contact_data, rule.allowed or [])):
                refuse_at(("properties", name, "allowed"), NO_ADDRESS)
            _refuse_senseless(("properties", name), rule)
        category = self.properties.get("category")
        if category is not None and category.type != "text":
            refuse_at(("properties", "category", "type"), "must be text, as of every kind: segments count by it")
        if self.value is not None:
            _refuse_senseless(("value",), self.value)
            if self.value.type != "number":
                refuse_at(("value", "type"), "must be number: the value of an event is one")
            if self.value.required:
                refuse_at(("value", "required"), "is said in `required` of the kind")
        return self


def _refuse_senseless(place: tuple[str, ...], rule: PropertyRule) -> None:
    for name in ("minimum", "maximum", "above"):
        if getattr(rule, name) is not None and rule.type != "number":
            refuse_at((*place, name), f"bounds a number, and this is a {rule.type}")
    if rule.maximum is not None and rule.minimum is not None and rule.minimum > rule.maximum:
        refuse_at((*place, "maximum"), "must not be less than the minimum")
    if rule.maximum is not None and rule.above is not None and rule.above >= rule.maximum:
        refuse_at((*place, "maximum"), "must be greater than `above`")
    if rule.allowed is not None and rule.type != "text":
        refuse_at((*place, "allowed"), f"lists texts, and this is a {rule.type}")
    if rule.allowed == []:
        refuse_at((*place, "allowed"), "must name at least one text")


class KindRule(KindContent):
    """A kind of event: where such events come from, what they need, and what follows from one."""

    name: Kind
    source: Literal["business", "interactive", "sensor", "campaign", "custom"]
    follows: Follows = "nothing"


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
MONEY = frozenset(["order", "order_line", "payment", "refund", "cancellation"])  # kinds whose value is money


def _kind(
    source: Literal["business", "interactive", "sensor", "campaign"],
    name: str,
    description: str,
    properties: Mapping[str, PropertyRule] = MappingProxyType({}),
    *,
    required: Sequence[Needed] = (),
    value: PropertyRule | None = None,
    follows: Follows = "nothing",
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
    order = {"order_id": TEXT}
    money: list[Needed] = ["value"]
    return [
        _kind("business", "order", "A purchase; value is what it came to.", order, required=money, value=NOT_NEGATIVE),
        _kind("business", "order_line", "One line of a purchase; value is its amount, never free of charge.",
              {**order, **PRODUCT, "unit_price": POSITIVE}, required=money, value=POSITIVE),
        _kind("business", "payment", "Money received.", {**order, "method": TEXT}, required=money, value=NOT_NEGATIVE),
        _kind("business", "refund", "Money given back; value says how much.", order,
              required=money, value=NOT_NEGATIVE),
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


WELL_KNOWN: Mapping[str, KindRule] = MappingProxyType({rule.name: rule for rule in _well_known()})
