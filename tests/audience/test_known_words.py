"""Channels and purposes are one known list at every door: who says no with a misspelt word is told, never ignored."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from services.audience.migrations import versions
from tests.audience.targeting import person

MARKETING = {"channel": "email", "purpose": "marketing"}


def sendable(audience, customers, **scope):
    answer = audience.post("/v1/send-checks", json={"customer_ids": customers, **(scope or MARKETING)})
    return [one["sendable"] for one in answer.json()["checks"]]


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        ("/v1/suppressions", {"channel": "e-mail", "reason": "asked"}, "/channel"),
        ("/v1/send-checks", {"channel": "emial", "purpose": "marketing"}, "/channel"),
        ("/v1/send-checks", {"channel": "email", "purpose": "marketin"}, "/purpose"),
        ("/v1/send-checks", {"channel": "email"}, "/purpose"),
        ("/v1/send-checks", {"purpose": "marketing"}, "/channel"),
    ],
)
def test_a_channel_or_purpose_that_is_none_is_refused_at_its_field(audience, unique, path, body, pointer):
    customer = {"customer_ids": [unique]} if path.endswith("checks") else {"customer_id": unique}
    answer = audience.post(path, json=body | customer)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


def test_a_contact_point_on_no_known_channel_is_refused(audience, load, unique):
    load([{"customer_id": unique}])
    answer = audience.put(f"/v1/customers/{unique}/contact-points/pigeon", json={"handle": "h"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "#path/channel"


def test_a_segment_that_asks_for_consent_on_no_known_channel_is_refused(audience, unique):
    clause = {"consent": "emial", "purpose": "Marketing"}
    answer = audience.post("/v1/segments", json={"key": unique, "definition": clause})
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/definition/consent"]
    stored = audience.post("/v1/segments", json={"key": unique, "definition": clause | {"consent": "EMail"}}).json()
    assert stored["definition"]["consent"] == "email"


def test_a_row_of_a_load_that_names_no_known_channel_or_purpose_is_refused(load, unique):
    said = {"state": "denied", "source": "crm"}
    report = load(
        [
            {"customer_id": f"{unique}-1", "consents": [said | {"channel": "emial"}]},
            {"customer_id": f"{unique}-2", "consents": [said | {"purpose": "marketin"}]},
            {"customer_id": f"{unique}-3", "contact_points": [{"channel": "pigeon", "handle": "h"}]},
        ]
    )
    assert report["rejected"] == 3
    pointers = {reason["pointer"] for reason in report["reasons"]}
    assert pointers == {"/consents/0/channel", "/consents/0/purpose", "/contact_points/0/channel"}


def test_upper_and_lower_case_are_the_same_word_at_every_door(audience, load, unique):
    customers = [f"{unique}-refused", f"{unique}-suppressed", f"{unique}-fine"]
    load([person(one, contact_points=[{"channel": "Email", "handle": "h"}]) for one in customers])
    assert sendable(audience, customers, channel="EMAIL", purpose="Marketing") == [True, True, True]
    refusal = {"purpose": "MARKETING", "state": "denied", "source": "telephone"}
    assert audience.put(f"/v1/customers/{customers[0]}/consents/Email", json=refusal).status_code == 200
    stop = {"customer_id": customers[1], "channel": " EMail", "reason": "asked"}
    assert audience.post("/v1/suppressions", json=stop).json()["channel"] == "email"
    assert sendable(audience, customers) == [False, False, True]


def test_a_refusal_for_a_brand_that_nobody_uses_is_answered_with_a_warning(audience, load, unique):
    load([person(unique)])
    path = f"/v1/customers/{unique}/consents/email"
    refusal = {"purpose": "marketing", "state": "denied", "source": "telephone"}
    (warning,) = audience.put(path, json=refusal | {"brand": "defualt"}).json()["warnings"]
    assert "defualt" in warning
    assert audience.put(path, json=refusal).json()["warnings"] == []
    campaign = {"key": unique, "name": "North", "brand": f"north-{unique}", **MARKETING}
    assert audience.post("/v1/campaigns", json=campaign).status_code == 201
    assert audience.put(path, json=refusal | {"brand": f"North-{unique}"}).json()["warnings"] == []


STORED = """
    insert into audience.consent (customer_id, brand, channel, purpose, at, state, source, recorded_at)
    values ('{0}-spelt', 'default', 'emial', 'marketing', '2026-01-02', 'denied', 'test', '2026-01-02'),
           ('{0}-cased', 'default', 'Email', 'Marketing', '2026-01-02', 'granted', 'test', '2026-01-02'),
           ('{0}-purpose', 'default', 'email', 'Marketin', '2026-01-02', 'withdrawn', 'test', '2026-01-02');
    insert into audience.suppression (customer_id, id, channel, reason, created_at)
    values ('{0}-stopped', gen_random_uuid(), 'e-mail', 'test', '2026-01-02');
    insert into audience.contact_point (customer_id, channel, handle, status, updated_at)
    values ('{0}-cased', 'EMAIL', 'h', 'active', '2026-01-02');
"""


def test_what_was_stored_before_words_were_known_is_read_as_at_feedbacks_door(audience, load, unique, owner_engine):
    refusing = [f"{unique}-{name}" for name in ("spelt", "purpose", "stopped")]
    granted = [
        {"channel": "email", "purpose": "marketing", "state": "granted", "source": "crm", "at": "2026-01-01T00:00:00Z"}
    ]
    load([person(one, consents=granted) for one in refusing] + [{"customer_id": f"{unique}-cased"}])
    script = (Path(versions.__path__[0]) / "0006_known_channels.sql").read_text()
    with owner_engine.begin() as connection:
        connection.exec_driver_sql(STORED.format(unique))
    assert sendable(audience, [*refusing, f"{unique}-cased"]) == [True, True, True, False]
    with owner_engine.begin() as connection:
        connection.connection.driver_connection.execute(script)
    assert sendable(audience, [*refusing, f"{unique}-cased"]) == [False, False, False, True]
    with owner_engine.connect() as connection:
        kept = connection.execute(
            sa.text("select channel, purpose from audience.consent where customer_id = :one and state <> 'granted'"),
            {"one": refusing[0]},
        ).all()
    assert kept == [("*", "marketing")]
