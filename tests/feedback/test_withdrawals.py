"""Who says no is heard at once: the withdrawal stands when the call returns, with Postgres alone."""

import json
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from shared.contracts.scopes import CHANNELS, PURPOSES
from tests.feedback.conftest import Make

WITHDRAWN = sa.text("""
    select w.brand, w.channel, w.purpose, w.reason, w.event_id, w.batch_id, w.xid is not null as placed
      from published.feedback_withdrawals as w
     where w.customer_id = :customer
""")


def withdrawn(engine: sa.Engine, customer: str) -> list[dict[str, Any]]:
    with engine.connect() as db:
        return [dict(row) for row in db.execute(WITHDRAWN, {"customer": customer}).mappings()]


@pytest.mark.parametrize("kind", ["unsubscribed", "complained"])
@pytest.mark.parametrize("listed", [False, True])
def test_a_withdrawal_is_published_when_the_call_returns(
    feedback: httpx.Client, owner_engine: sa.Engine, event: Make, kind: str, listed: bool
) -> None:
    sent = event(kind=kind, value=..., currency=..., properties={"channel": "email", "brand": "north"})
    assert feedback.post("/v1/events", json=[sent] if listed else sent).json()["accepted"] == 1
    (found,) = withdrawn(owner_engine, sent["customer_id"])
    scope = (found["brand"], found["channel"], found["purpose"], found["reason"])
    assert scope == ("north", "email", None, kind)
    assert found["placed"]


@pytest.mark.parametrize("blanks", [" {0}", "{0}\t", "\u00a0{0}\u2003 "])
def test_who_says_no_under_an_id_with_blanks_around_it_is_heard_with_and_without_them(
    feedback: httpx.Client, owner_engine: sa.Engine, event: Make, unique: str, blanks: str
) -> None:
    sent = event(kind="unsubscribed", value=..., customer_id=blanks.format(unique))
    for body in ([sent], sent | {"customer_id": unique}):
        assert feedback.post("/v1/events", json=body).json()["accepted"] == 1
    for customer in (sent["customer_id"], unique):
        assert [row["reason"] for row in withdrawn(owner_engine, customer)] == ["unsubscribed"]
    refused = feedback.post("/v1/events", json=event(customer_id=sent["customer_id"]))
    assert refused.json()["errors"][0]["pointer"] == "/customer_id"


def test_a_withdrawal_that_names_nothing_covers_all(
    feedback: httpx.Client, owner_engine: sa.Engine, event: Make
) -> None:
    feedback.post("/v1/events", json=event(kind="unsubscribed", value=..., properties=...))
    (found,) = withdrawn(owner_engine, event()["customer_id"])
    assert (found["brand"], found["channel"], found["purpose"]) == (None, None, None)


def test_only_a_hard_bounce_closes_the_channel(feedback: httpx.Client, owner_engine: sa.Engine, event: Make) -> None:
    soft = event(0, kind="bounced", value=..., properties={"bounce": "soft"})
    hard = event(1, kind="bounced", value=..., properties={"bounce": "hard"})
    feedback.post("/v1/events", json=[soft, hard])
    assert withdrawn(owner_engine, soft["customer_id"]) == []
    (found,) = withdrawn(owner_engine, hard["customer_id"])
    assert (found["channel"], found["reason"]) == ("email", "bounced")


def test_a_withdrawal_sent_again_or_in_conflict_adds_nothing(
    feedback: httpx.Client, owner_engine: sa.Engine, event: Make
) -> None:
    first = event(kind="unsubscribed", value=..., properties={"channel": "email"})
    for changed in (first, first, first | {"properties": {"channel": "sms"}}):
        feedback.post("/v1/events", json=[changed])
    (found,) = withdrawn(owner_engine, first["customer_id"])
    assert found["channel"] == "email"


def test_a_refused_item_beside_it_does_not_keep_a_withdrawal_from_being_heard(
    feedback: httpx.Client, owner_engine: sa.Engine, event: Make
) -> None:
    feedback.post("/v1/events", json=[event(0, kind="unsubscribed", value=...), event(1, colour="red")])
    assert len(withdrawn(owner_engine, event(0)["customer_id"])) == 1


ODD = ["", " ", "*", "all", "e-mail ", "newsletter", "E-Mail", "ｅmail", "email;sms"]


@pytest.mark.parametrize("channel", ["Email", " EMAIL\t", *ODD])
def test_an_unsubscribe_stops_the_next_mail_however_its_channel_is_spelled(
    audience: httpx.Client, feedback: httpx.Client, event: Make, channel: str
) -> None:
    customer = event()["customer_id"]
    reachable(audience, customer, "email", "sms")
    sent = event(kind="unsubscribed", value=..., properties={"channel": channel})
    assert feedback.post("/v1/events", json=sent).json()["accepted"] == 1
    assert sendable(audience, customer, channel="email") is False
    assert sendable(audience, customer, channel="sms") is (channel not in ODD)


@pytest.mark.parametrize(
    "scope", [{"brand": "*"}, {"brand": ""}, {"brand": "the north!"}, {"brand": " North"}, {"purpose": "newsletter"}]
)
def test_a_brand_or_purpose_that_is_none_leaves_nothing_permitted(
    audience: httpx.Client, feedback: httpx.Client, event: Make, scope: dict[str, str]
) -> None:
    customer = event()["customer_id"]
    reachable(audience, customer, "email", brand="North")
    assert sendable(audience, customer, channel="email", brand="North") is True
    feedback.post("/v1/events", json=event(kind="unsubscribed", value=..., properties=scope))
    assert sendable(audience, customer, channel="email", brand="North") is False


def test_a_hard_bounce_on_a_channel_that_is_none_closes_email(
    feedback: httpx.Client, owner_engine: sa.Engine, event: Make
) -> None:
    feedback.post("/v1/events", json=event(kind="bounced", value=..., properties={"bounce": "hard", "channel": "mail"}))
    (found,) = withdrawn(owner_engine, event()["customer_id"])
    assert found["channel"] == "email"


@pytest.mark.parametrize(
    ("kept", "read"),
    [
        (("North", "E-Mail", "Marketing"), ("north", None, "marketing")),
        ((" north", " EMAIL\t", "newsletter"), ("north", "email", None)),
        (("the north!", "", "*"), (None, None, None)),
        ((None, None, None), (None, None, None)),
    ],
)
def test_a_withdrawal_covers_the_same_in_whatever_form_an_earlier_release_wrote_it(
    audience: httpx.Client,
    feedback: httpx.Client,
    owner_engine: sa.Engine,
    event: Make,
    kept: tuple[str | None, ...],
    read: tuple[str | None, ...],
) -> None:
    customer = event()["customer_id"]
    reachable(audience, customer, "email", brand="north")
    assert sendable(audience, customer, channel="email", brand="north") is True
    feedback.post("/v1/events", json=event(kind="unsubscribed", value=..., properties={"channel": "fax"}))
    as_written = "update feedback.withdrawal set brand = :b, channel = :c, purpose = :p where customer_id = :customer"
    with owner_engine.begin() as db:
        db.execute(sa.text(as_written), dict(zip("bcp", kept, strict=True)) | {"customer": customer})
    (found,) = withdrawn(owner_engine, customer)
    assert (found["brand"], found["channel"], found["purpose"]) == read
    assert sendable(audience, customer, channel="email", brand="north") is False


def test_a_withdrawal_covers_each_known_channel_and_purpose_by_its_name(
    feedback: httpx.Client, owner_engine: sa.Engine, event: Make
) -> None:
    known = {("channel", name) for name in CHANNELS} | {("purpose", name) for name in PURPOSES}
    sent = [
        event(
            number, kind="unsubscribed", value=..., properties={field: name.upper()}, customer_id=event()["customer_id"]
        )
        for number, (field, name) in enumerate(sorted(known))
    ]
    feedback.post("/v1/events", json=sent)
    found = withdrawn(owner_engine, event()["customer_id"])
    assert {(field, row[field]) for row in found for field in ("channel", "purpose") if row[field]} == known


def reachable(audience: httpx.Client, customer: str, *channels: str, brand: str = "default") -> None:
    """A customer who can be, and may be, written to on these channels."""
    given = {"purpose": "marketing", "state": "granted", "source": "test", "brand": brand, "at": "2020-01-01T00:00:00Z"}
    row = {
        "customer_id": customer,
        "contact_points": [{"channel": channel, "handle": "h"} for channel in channels],
        "consents": [given | {"channel": channel} for channel in channels],
    }
    headers = {"Content-Type": "application/x-ndjson"}
    answer = audience.post("/v1/customers", content=json.dumps(row), headers=headers)
    assert answer.json()["accepted"] == 1, answer.text


def sendable(audience: httpx.Client, customer: str, **scope: str) -> bool:
    asked = {"customer_ids": [customer], "purpose": "marketing", **scope}
    (found,) = audience.post("/v1/send-checks", json=asked).json()["checks"]
    return bool(found["sendable"])
