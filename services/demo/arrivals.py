"""What the simulated shop sends to Attune: customers with dirt among them, and what its customers did."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np

from services.demo.shop import CITIES, INTERESTS, LOYALTIES, Integers, Responses, Shop

CATEGORIES = {"outdoor": "jackets", "home": "lamps", "kids": "toys", "sports": "shoes"}
CURRENCY = "EUR"
AGE_MISSING_EVERY = 47  # one customer in so many has no age
REPEATED_EVERY = 120  # one row in so many comes twice

Row = dict[str, object]


def customer_rows(shop: Shop, told_at: datetime) -> Iterator[Row]:
    """One row for each customer, some of them twice, and rows that nobody can use."""
    for position in range(len(shop)):
        row = _customer_row(shop, position, told_at)
        yield row
        if position % REPEATED_EVERY == 0:
            yield row
    yield from _dirt(shop)


def _customer_row(shop: Shop, position: int, told_at: datetime) -> Row:
    customer = str(shop.customer_id[position])
    attributes: Row = {
        "shop": shop.name,
        "age": int(shop.age[position]),
        "interest": INTERESTS[shop.interest[position]],
        "loyalty": LOYALTIES[shop.loyalty[position]],
        "city": CITIES[shop.city[position]],
        "member_since": str(shop.member_since[position]),
    }
    if position % AGE_MISSING_EVERY == 0:
        del attributes["age"]
    state = "granted" if shop.consents[position] else "denied"
    consent: Row = {"channel": "post", "purpose": "marketing", "state": state, "source": "account page"}
    row: Row = {
        "customer_id": customer,
        "attributes": attributes,
        "consents": [{**consent, "at": told_at.isoformat()}],
    }
    if shop.reachable[position]:
        row["contact_points"] = [{"channel": "post", "handle": f"address-of-{customer}"}]
    return row


def _dirt(shop: Shop) -> Iterator[Row]:
    """What real exports hold too: wrong types, impossible values, misspelt words, unknown columns, no customer."""
    share = len(shop) // 1000
    mistakes: list[tuple[int, Row]] = [
        (3 * share, {"age": "unknown"}),
        (2 * share, {"age": 212}),
        (2 * share, {"interest": "gardning"}),
        (share, {"favourite_colour": "green"}),
        (share, {"member_since": "2020-02-31"}),
    ]
    for kind, (times, mistake) in enumerate(mistakes):
        for number in range(times):
            yield {"customer_id": f"{shop.name}-dirt-{kind}-{number}", "attributes": {"shop": shop.name, **mistake}}
    for number in range(share):
        yield {"attributes": {"shop": shop.name, "age": 20 + number % 50}}


class Sending(NamedTuple):
    """What events say of where they come from, and when it was sent."""

    campaign: str
    target_list: str
    experiment: str
    t0: datetime


def sent_rows(sending: Sending, customer_ids: Sequence[str], arms: Sequence[str]) -> Iterator[Row]:
    """The sending tool reports whom it wrote to."""
    common: Row = {"kind": "sent", "event_id": f"{sending.experiment}-sent", "occurred_at": sending.t0.isoformat()}
    common |= {"campaign": sending.campaign, "target_list": sending.target_list, "experiment": sending.experiment}
    for customer, arm in zip(customer_ids, arms, strict=True):
        yield common | {"customer_id": customer, "arm": arm, "properties": {"channel": "post"}}


def response_rows(shop: Shop, responses: Responses, name: str, t0: datetime) -> list[Row]:
    """Responses as events, in their order; t0 is where their `seconds` count from."""
    customers = shop.customer_id[responses.row].tolist()
    columns = (responses.kind.tolist(), customers, responses.seconds.tolist(), responses.value.tolist())
    categories = [CATEGORIES[INTERESTS[interest]] for interest in shop.interest[responses.row]]
    rows = []
    for number, (kind, customer, seconds, value) in enumerate(zip(*columns, strict=True)):
        row: Row = {
            "event_id": f"{name}-{kind}-{number}",
            "customer_id": customer,
            "kind": kind,
            "occurred_at": (t0 + timedelta(seconds=seconds)).isoformat(),
        }
        if kind == "order":
            row |= {"value": f"{value:.2f}", "currency": CURRENCY}
        if kind == "unsubscribed":
            row |= {"properties": {"channel": "post"}}
        else:
            row |= {"properties": {"category": categories[number]}}
        rows.append(row)
    return rows


def waves(rows: list[Row], seed: int) -> dict[str, list[Row]]:
    """How events really arrive: most of them soon and in any order, the rest late, and some twice."""
    order = np.random.default_rng(seed).permutation(len(rows))
    soon, late = order[: int(0.7 * len(rows))], order[int(0.7 * len(rows)) :]
    again = soon[: len(soon) // 5]
    return {
        "soon, in any order": _taken(rows, soon),
        "late": _taken(rows, late),
        "sent a second time": _taken(rows, again),
    }


def _taken(rows: list[Row], positions: Integers) -> list[Row]:
    return [rows[position] for position in positions]
