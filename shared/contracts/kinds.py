"""The kinds of event that every installation knows: where they come from, what they hold, what follows from them."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal

from shared.contracts.feedback import Follows, KindRule, Needed, PropertyRule

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
