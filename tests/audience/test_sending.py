"""The check before sending: sendable now, or the reason why not."""

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from services.audience import app
from services.audience.migrations import versions
from shared.jobs import JobContext
from shared.telemetry import ARRIVAL_LAG, ARRIVAL_PENDING
from tests.audience.targeting import build, person, segment_of

REACHABLE = {
    "contact_points": [{"channel": "email", "handle": "h"}],
    "consents": [{"channel": "email", "purpose": "marketing", "state": "granted", "source": "test"}],
}


def check(audience, customers, **scope):
    scope = scope or {"channel": "email", "purpose": "marketing"}
    answer = audience.post("/v1/send-checks", json={"customer_ids": customers, **scope})
    assert answer.status_code == 200, answer.text
    assert [one["customer_id"] for one in answer.json()["checks"]] == customers
    return [one["reason"] for one in answer.json()["checks"]]


def test_each_customer_gets_the_first_reason(audience, load, unique):
    names = [f"{unique}-{name}" for name in ("fine", "unreachable", "forbidden", "suppressed", "nobody")]
    load(
        [
            {"customer_id": names[0], **REACHABLE},
            {"customer_id": names[1], "consents": REACHABLE["consents"]},
            {"customer_id": names[2], "contact_points": REACHABLE["contact_points"]},
            {"customer_id": names[3], **REACHABLE},
        ]
    )
    audience.post("/v1/suppressions", json={"customer_id": names[3], "reason": "court order"})
    assert check(audience, names) == [None, "not reachable", "not permitted", "suppressed", "unknown"]


def test_a_suppression_can_be_lifted_and_stays_on_record_with_who_and_why(audience, load, unique, owner_engine):
    load([person(unique)])
    made = audience.post("/v1/suppressions", json={"customer_id": unique, "reason": "wrong customer"}).json()
    assert made["lifted"] is None
    assert check(audience, [unique]) == ["suppressed"]
    path = f"/v1/suppressions/{made['id']}/lift"
    lifted = audience.post(path, json={"reason": "entered for another customer"}).json()
    assert lifted | {"lifted": None} == made
    assert (lifted["lifted"]["by"], lifted["lifted"]["reason"]) == ("bootstrap", "entered for another customer")
    assert check(audience, [unique]) == [None]
    segment = segment_of(audience, unique, {"attribute": "age", "is": "exists"})
    assert build(audience, segment, unique)["count"] == 1
    assert audience.post(path, json={"reason": "again"}).json() == lifted
    assert audience.get("/v1/suppressions", params={"customer_id": unique}).json()["items"] == [lifted]


def test_lifting_needs_a_reason_without_an_address_and_a_suppression(audience, unique):
    made = audience.post("/v1/suppressions", json={"customer_id": unique, "reason": "asked"}).json()
    path = f"/v1/suppressions/{made['id']}/lift"
    for body in ({}, {"reason": ""}, {"reason": "ada@example.com asked"}):
        answer = audience.post(path, json=body)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/reason")
    assert audience.post(f"/v1/suppressions/{uuid.uuid4()}/lift", json={"reason": "asked"}).status_code == 404


def test_permission_of_one_brand_channel_or_purpose_is_not_that_of_another(audience, load, unique):
    load([{"customer_id": unique, **REACHABLE}])
    assert check(audience, [unique], channel="email", purpose="service") == ["not permitted"]
    assert check(audience, [unique], channel="email", purpose="marketing", brand="other") == ["not permitted"]
    assert check(audience, [unique], channel="sms", purpose="marketing") == ["not reachable"]


def test_a_withdrawal_covering_every_channel_stops_each(audience, load, unique):
    load([{"customer_id": unique, **REACHABLE}])
    body = {"state": "withdrawn", "source": "telephone", "brand": None}
    assert audience.put(f"/v1/customers/{unique}/consents/*", json=body).status_code == 200
    assert check(audience, [unique]) == ["not permitted"]


def test_what_feedback_heard_is_in_force_before_audience_has_recorded_it(audience, load, unique, owner_engine, work):
    load([{"customer_id": unique, **REACHABLE}])
    withdraw(owner_engine, unique, "unsubscribed", channel=None)
    assert check(audience, [unique]) == ["not permitted"]
    assert len(audience.get(f"/v1/customers/{unique}/consents").json()["items"]) == 1
    work("audience")
    recorded = audience.get(f"/v1/customers/{unique}/consents").json()["items"]
    assert (recorded[0]["state"], recorded[0]["source"], recorded[0]["channel"]) == (
        "withdrawn",
        "feedback: unsubscribed",
        None,
    )
    work("audience")
    assert len(audience.get(f"/v1/customers/{unique}/consents").json()["items"]) == 2


def test_how_far_the_record_is_behind_is_measured_without_its_work(
    unique, owner_engine, work, audience_engine, settings
):
    def behind():
        app.measure_withdrawals(JobContext(audience_engine, settings, {}))
        gauges = (ARRIVAL_PENDING, ARRIVAL_LAG)
        return tuple(gauge.labels("audience", "withdrawals")._value.get() for gauge in gauges)

    work("audience")
    assert behind() == (0, 0)
    for reason in ("unsubscribed", "bounced"):
        withdraw(owner_engine, unique, reason, channel="email")
        batches, age = behind()
        assert (batches, age > 0) == (1, True)
        work("audience")
        assert behind() == (0, 0)
    assert app.measure_withdrawals in app.jobs.measures


def test_a_bounced_address_stays_bounced_until_another_one_comes(audience, load, unique, owner_engine, work):
    load([{"customer_id": unique, "identities": {"email": f"{unique}@example.com"}}])
    withdraw(owner_engine, unique, "bounced", channel="email")
    work("audience")
    load([{"customer_id": unique, "identities": {"email": f"{unique}@example.com"}}])
    assert statuses(audience, unique) == {"email": "bounced"}
    load([{"customer_id": unique, "identities": {"email": f"new.{unique}@example.com"}}])
    assert statuses(audience, unique) == {"email": "active"}


def test_a_bounce_closes_its_address_at_once_and_another_address_opens_the_channel(
    audience, load, unique, owner_engine, work
):
    load([{"customer_id": unique, **REACHABLE, "identities": {"email": f"{unique}@example.com"}}])
    withdraw(owner_engine, unique, "bounced", channel="email")
    assert check(audience, [unique]) == ["not reachable"]
    work("audience")
    assert check(audience, [unique]) == ["not reachable"]
    assert [one["state"] for one in audience.get(f"/v1/customers/{unique}/consents").json()["items"]] == ["granted"]
    load([{"customer_id": unique, "identities": {"email": f"new.{unique}@example.com"}}])
    assert check(audience, [unique]) == [None]
    work("audience")
    assert check(audience, [unique]) == [None]


def test_a_bounce_recorded_as_a_refusal_by_an_older_release_forbids_nothing_and_is_taken_off_the_record(
    audience, load, unique, owner_engine
):
    load([{"customer_id": unique, **REACHABLE}])
    refusal = {"state": "withdrawn", "purpose": "marketing", "source": "feedback: bounced"}
    audience.put(f"/v1/customers/{unique}/consents/email", json=refusal)
    assert check(audience, [unique]) == [None]
    with owner_engine.begin() as connection:
        connection.exec_driver_sql((Path(versions.__file__).parent / "0005_bounces.sql").read_text())
    assert [one["state"] for one in audience.get(f"/v1/customers/{unique}/consents").json()["items"]] == ["granted"]
    audience.put(f"/v1/customers/{unique}/consents/email", json=refusal | {"source": "feedback: unsubscribed"})
    assert check(audience, [unique]) == ["not permitted"]


def test_a_bounce_that_a_load_of_the_same_address_overtook_still_counts(audience, load, unique, owner_engine, work):
    row = {"customer_id": unique, **REACHABLE, "identities": {"email": f"{unique}@example.com"}}
    load([row])
    before = datetime.now(UTC)
    load([row])
    withdraw(owner_engine, unique, "bounced", channel="email", at=before)
    assert check(audience, [unique]) == ["not reachable"]
    work("audience")
    assert statuses(audience, unique) == {"email": "bounced"}


def statuses(audience, customer):
    return {one["channel"]: one["status"] for one in audience.get(f"/v1/customers/{customer}").json()["contact_points"]}


def withdraw(engine, customer, reason, channel, at=None):
    with engine.begin() as connection:
        batch = connection.execute(
            sa.text("insert into feedback.batch (received_at, events) values (now(), 1) returning batch_id")
        ).scalar_one()
        connection.execute(
            sa.text("""
                insert into feedback.withdrawal (customer_id, event_id, channel, at, reason, batch_id)
                values (:customer, :event, :channel, coalesce(:at, now()), :reason, :batch)
            """),
            {"customer": customer, "event": str(uuid.uuid4()), "channel": channel, "reason": reason, "batch": batch}
            | {"at": at},
        )


def test_a_suppression_ends_when_it_says(audience, load, unique, owner_engine):
    load([{"customer_id": unique, **REACHABLE}])
    in_an_hour = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    made = audience.post("/v1/suppressions", json={"customer_id": unique, "reason": "holidays", "ends_at": in_an_hour})
    assert check(audience, [unique]) == ["suppressed"]
    with owner_engine.begin() as connection:
        passed = sa.text("update audience.suppression set ends_at = now() where id = :id")
        connection.execute(passed, {"id": made.json()["id"]})
    assert check(audience, [unique]) == [None]
    elsewhere = {"customer_id": unique, "reason": "no calls", "channel": "phone"}
    assert audience.post("/v1/suppressions", json=elsewhere).status_code == 201
    assert check(audience, [unique]) == [None]
    here = {"customer_id": unique, "reason": "asked", "channel": "email", "ends_at": "2100-01-01T00:00:00Z"}
    assert audience.post("/v1/suppressions", json=here).status_code == 201
    assert check(audience, [unique]) == ["suppressed"]
    listed = audience.get("/v1/suppressions", params={"customer_id": unique}).json()["items"]
    assert [one["reason"] for one in listed] == ["asked", "no calls", "holidays"]


def test_a_suppression_that_would_never_be_in_force_is_refused(audience, unique):
    ended = {"customer_id": unique, "reason": "typed the wrong year", "ends_at": "2020-01-01T00:00:00Z"}
    answer = audience.post("/v1/suppressions", json=ended)
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/ends_at"]
    assert audience.get("/v1/suppressions", params={"customer_id": unique}).json()["items"] == []


def test_a_repeated_suppression_with_its_key_is_one(audience, unique):
    body = {"customer_id": unique, "reason": "asked"}
    headers = {"Idempotency-Key": unique}
    first, second = (audience.post("/v1/suppressions", json=body, headers=headers).json() for _ in range(2))
    assert first == second
    assert len(audience.get("/v1/suppressions", params={"customer_id": unique}).json()["items"]) == 1
    other = audience.post("/v1/suppressions", json=body | {"reason": "other"}, headers=headers)
    assert other.status_code == 409


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"customer_ids": [], "channel": "email", "purpose": "marketing"}, "/customer_ids"),
        ({"customer_ids": ["c"] * 1001, "channel": "email", "purpose": "marketing"}, "/customer_ids"),
        ({"customer_ids": ["a\x00b"], "channel": "email", "purpose": "marketing"}, "/customer_ids/0"),
        ({"customer_ids": ["c"], "channel": "email"}, "/purpose"),
        ({"customer_ids": ["c"], "channel": "; drop table", "purpose": "marketing"}, "/channel"),
        ({"customer_ids": ["c"], "target_list_id": "7"}, "/target_list_id"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused_at_its_field(audience, body, pointer):
    answer = audience.post("/v1/send-checks", json=body)
    assert answer.status_code == 422
    assert pointer in {error["pointer"] for error in answer.json()["errors"]}


def test_an_unknown_list_is_not_found(audience):
    body = {"customer_ids": ["c"], "target_list_id": "01958f3e-8f6a-7cc1-b1a4-6a2f6f3c9f10"}
    assert audience.post("/v1/send-checks", json=body).status_code == 404
