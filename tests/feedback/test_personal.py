"""No e-mail address and no telephone number is kept, and no event is lost because of one."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from services.feedback.actions.intake import judge
from services.feedback.doors import Item, Parsed
from services.feedback.events import identified
from services.feedback.personal import hashed
from shared.contracts.feedback import Event
from shared.contracts.kinds import WELL_KNOWN
from tests.conftest import SECRET
from tests.feedback.conftest import Make


def kept(feedback: httpx.Client, customer: str) -> dict[str, Any]:
    (found,) = feedback.get("/v1/events", params={"customer_id": customer}).json()["items"]
    return dict(found)


@pytest.mark.parametrize("customer", ["ada@example.com", "+33 6 12 34 56 78", "Ada <ada@example.com>"])
@pytest.mark.parametrize("listed", [False, True])
def test_an_address_is_no_customer_id(feedback: httpx.Client, event: Make, customer: str, listed: bool) -> None:
    sent = event(customer_id=customer)
    answer = feedback.post("/v1/events", json=[sent] if listed else sent)
    told = answer.json()["rejected" if listed else "errors"][0]
    assert told["pointer"] == "/customer_id"
    assert feedback.get("/v1/rejects", params={"limit": 1}).json()["items"][0]["raw"].count("ada@") == 0


@pytest.mark.parametrize(
    ("name", "value", "lost"),
    [
        ("email", "ada@example.com", "ada"),
        ("link", "https://shop.example/stop?email=ada.l%40example.com&x=1", "ada"),
        ("note", "write to ada@example.com", "ada"),
        ("contact", {"of": ["ada@example.com"]}, "ada"),
        ("caller", "+33 6 12 34 56 78", "12"),
        ("phone", "0170 1234567", "0170"),
        ("mobile", 491701234567, "491"),
        ("mobile", {"home": "0170 1234567"}, "0170"),
        ("Phones", ["0170 1234567", {"work": 491701234567}], "70"),
        ("tel_2", "ada@example.com", "ada"),
        ("note", "o'brien@example.com", "o'"),
        ("note", "jo\u0308rg@mu\u0308ller.example", "jo"),
        ("recipients", {"otto@example.com": 1, "+33 6 12 34 56 78": 2}, "otto"),
        ("ada@example.com", "read", None),
    ],
)
@pytest.mark.parametrize("listed", [False, True])
def test_addresses_in_properties_are_hashed_on_arrival(
    feedback: httpx.Client, event: Make, name: str, value: object, lost: str | None, listed: bool
) -> None:
    sent = event(properties={name: value, "order_id": "o-1"})
    for expected in ("accepted", "duplicates"):
        assert feedback.post("/v1/events", json=[sent] if listed else sent).json()[expected] == 1
    found = kept(feedback, sent["customer_id"])["properties"]
    assert found.pop("order_id") == "o-1"
    assert "hashed:" in str(found)
    assert (lost or name) not in str(found)
    assert "612" not in str(found).replace(" ", "")


@pytest.mark.parametrize(
    "properties",
    [
        {"order_id": "0033612345678"},
        {"order_id": "4006381333931", "product": "M+ @ home"},
        {"mobile": True},
        {"phone": "iPhone 15"},
        {"page": "/search?q=shoes+4006381333931"},
    ],
)
def test_what_is_no_address_stays_as_it_was_sent(
    feedback: httpx.Client, event: Make, properties: dict[str, Any]
) -> None:
    sent = event(properties=properties)
    assert feedback.post("/v1/events", json=sent).json()["accepted"] == 1
    assert kept(feedback, sent["customer_id"])["properties"] == properties


def test_words_are_kept_without_the_addresses_in_them(feedback: httpx.Client, event: Make, unique: str) -> None:
    words = "It broke. Write to ada@example.com or call +44 20 7946 0000!"
    sent = event(kind="message", value=..., text=words, event_id=f"<{unique}@mail.example.com>")
    assert feedback.post("/v1/events", json=sent).json()["accepted"] == 1
    found = kept(feedback, sent["customer_id"])
    assert found["text"].startswith("It broke. Write to hashed:")
    assert "7946" not in found["text"]
    assert unique not in found["event_id"]
    assert feedback.post("/v1/events", json=sent).json()["duplicates"] == 1


def test_events_that_hashing_made_longer_than_may_be_sent_are_read_back(
    feedback: httpx.Client, event: Make, unique: str
) -> None:
    words = f"{'x' * 19_993} a@b.cc"
    addresses = (unique + "," + "a@b.cc," * 28)[:200]
    sent = event(kind="message", value=..., text=words, event_id=addresses)
    assert feedback.post("/v1/events", json=sent).json()["accepted"] == 1
    assert len(kept(feedback, sent["customer_id"])["event_id"]) > 200
    for asked in ({"limit": 5}, {"kind": "message", "limit": 5}):
        newest = feedback.get("/v1/events", params=asked).json()["items"][0]
        assert (newest["customer_id"], len(newest["text"]) > 20_000) == (sent["customer_id"], True)


def test_an_unsubscribe_counts_whatever_stands_beside_it(feedback: httpx.Client, event: Make) -> None:
    sent = event(kind="unsubscribed", value=..., currency=..., properties={"email": "ada@example.com"})
    assert feedback.post("/v1/events", json=sent).json()["accepted"] == 1


WITH_ADDRESSES = {
    "email": "ada@example.com",
    "phone": "0170 1234567",
    "order_id": "o-1",
    "read_by": {"ada@example.com": "o'brien@example.com", "otto@example.com": ["0170 1234567"]},
}
KEPT_IN_THE_CLEAR = sa.text("""
    update feedback.event as e
       set text = :text, properties = cast(:properties as jsonb)
     where e.customer_id = :customer
""")
KEPT_BY_A_RELEASE_THAT_KNEW_FEWER_CHARACTERS = sa.text("""
    update feedback.event as e
       set text = :text,
           properties = cast(replace(:properties, 'o''brien@example.com', 'o''hashed:00112233445566ff') as jsonb)
     where e.customer_id = :customer
""")
KEPT_UNDER_ANOTHER_SECRET = sa.text("""
    update feedback.event as e
       set text = regexp_replace(e.text, 'hashed:([0-9a-f]{15}).', 'hashed:0\\1', 'g'),
           properties = cast(regexp_replace(cast(e.properties as text), 'hashed:([0-9a-f]{15}).',
                                            'hashed:0\\1', 'g') as jsonb)
     where e.customer_id = :customer
""")


UNDER_ITS_ADDRESS = sa.text("update feedback.event as e set event_id = :event_id where e.customer_id = :customer")


@pytest.mark.parametrize(
    ("address", "earlier"),
    [("anna%40example.com", "anna%40example.com"), ("o'brien@example.com", f"o'{hashed('brien@example.com', SECRET)}")],
)
def test_an_event_kept_under_an_id_that_is_hashed_otherwise_now_is_the_same_event_when_it_comes_again(
    feedback: httpx.Client, owner_engine: sa.Engine, event: Make, address: str, earlier: str
) -> None:
    sent = event(event_id=address, properties={"email": "ada@example.com"})
    assert feedback.post("/v1/events", json=sent).json()["accepted"] == 1
    found = kept(feedback, sent["customer_id"])["event_id"]
    assert found == hashed(address, SECRET)
    assert feedback.post("/v1/events", json=sent).json()["duplicates"] == 1
    with owner_engine.begin() as db:
        db.execute(UNDER_ITS_ADDRESS, {"customer": sent["customer_id"], "event_id": earlier})
    for body in (sent, [sent], [sent] * 2):
        report = feedback.post("/v1/events", json=body).json()
        assert (report["accepted"], report["duplicates"]) == (0, len(body) if isinstance(body, list) else 1)
    assert feedback.post("/v1/events", json=sent | {"value": "1"}).status_code == 409
    assert kept(feedback, sent["customer_id"])["event_id"] == earlier


@pytest.mark.parametrize(
    "earlier", [KEPT_IN_THE_CLEAR, KEPT_BY_A_RELEASE_THAT_KNEW_FEWER_CHARACTERS, KEPT_UNDER_ANOTHER_SECRET]
)
@pytest.mark.parametrize("named", [False, True])
def test_an_event_kept_before_addresses_or_the_secret_changed_is_the_same_event_when_it_comes_again(
    feedback: httpx.Client, owner_engine: sa.Engine, event: Make, earlier: sa.TextClause, named: bool
) -> None:
    changed = {} if named else {"event_id": ...}
    sent = event(kind="message", value=..., text="Call +44 20 7946 0000!", properties=WITH_ADDRESSES, **changed)
    assert feedback.post("/v1/events", json=sent).json()["accepted"] == 1
    given = {"customer": sent["customer_id"], "text": sent["text"], "properties": json.dumps(WITH_ADDRESSES)}
    with owner_engine.begin() as db:
        assert db.execute(earlier, given).rowcount == 1
    for body in (sent, [sent], [sent] * 2):
        report = feedback.post("/v1/events", json=body).json()
        expected = len(body) if isinstance(body, list) else 1
        assert (report["accepted"], report["duplicates"], report["conflicts"]) == (0, expected, 0)
    if named:
        other = sent | {"properties": WITH_ADDRESSES | {"order_id": "o-2"}}
        for body in ([other], [other, sent]):
            assert feedback.post("/v1/events", json=body).json()["conflicts"] == 1


def test_the_id_of_an_event_without_one_is_that_of_the_event_as_it_was_sent() -> None:
    when = datetime(2024, 5, 1, tzinfo=UTC)
    sent = Event(customer_id="c1", kind="order", occurred_at=when, value=Decimal(5), properties=WITH_ADDRESSES)
    parsed = Parsed([Item(0, sent, 1)], [])
    one, other = (judge(parsed, WELL_KNOWN, when, secret).items[0].event for secret in ("one", "another"))
    assert one.event_id == other.event_id == identified(sent, 1).event_id
    assert one.properties != other.properties
