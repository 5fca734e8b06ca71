"""Permission: unknown means no, the newest statement holds, and the database decides as the rule says."""

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from services.audience.permission import Scope, Statement, dated, permitted
from services.audience.queries import permission as queries
from shared.contracts.permissions import ConsentState
from shared.db import Db

NOW = datetime(2026, 3, 1, tzinfo=UTC)
EARLIER, LATER = NOW - timedelta(days=1), NOW + timedelta(days=1)
SCOPE = Scope("default", "email", "marketing")
YES, NO = ConsentState.GRANTED, ConsentState.WITHDRAWN


def said(state, at=EARLIER, brand="default", channel="email", purpose="marketing", expires_at=None):
    return Statement(brand, channel, purpose, state, at, expires_at)


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        ([], False),
        ([said(YES)], True),
        ([said(ConsentState.SOFT_OPT_IN)], True),
        ([said(ConsentState.LEGITIMATE_INTEREST)], True),
        ([said(ConsentState.UNKNOWN)], False),
        ([said(ConsentState.PENDING)], False),
        ([said(ConsentState.DENIED)], False),
        ([said(ConsentState.WITHDRAWN)], False),
        ([said(ConsentState.EXPIRED)], False),
        # another scope says nothing about this one
        ([said(YES, brand="other")], False),
        ([said(YES, channel="sms")], False),
        ([said(YES, purpose="survey")], False),
        # the newest holds
        ([said(NO, EARLIER - timedelta(1)), said(YES)], True),
        ([said(YES, EARLIER - timedelta(1)), said(NO)], False),
        # a withdrawal naming no channel, purpose or brand covers all
        ([said(YES, EARLIER - timedelta(1)), said(NO, channel=None)], False),
        ([said(YES, EARLIER - timedelta(1)), said(NO, purpose=None)], False),
        ([said(YES, EARLIER - timedelta(1)), said(NO, brand=None, channel=None, purpose=None)], False),
        ([said(NO, EARLIER - timedelta(1), channel=None), said(YES)], True),
        # a refusal is heard however its scope is capitalised, a permission only as it was said
        ([said(YES, EARLIER - timedelta(1)), said(NO, brand="Default", channel="EMAIL")], False),
        ([said(YES, channel="EMAIL")], False),
        # at one instant the narrower holds; as narrow, the one that does not permit
        ([said(YES), said(NO, channel=None)], True),
        ([said(YES), said(NO)], False),
        # permissions begin and end; a refusal holds at once
        ([said(YES, LATER)], False),
        ([said(YES), said(NO, LATER)], False),
        ([said(YES, expires_at=NOW)], False),
        ([said(YES, expires_at=LATER)], True),
        ([said(YES, EARLIER - timedelta(1)), said(YES, expires_at=NOW)], False),
    ],
)
def test_the_truth_table(statements, expected):
    assert permitted(statements, SCOPE, NOW) is expected
    assert permitted(statements[::-1], SCOPE, NOW) is expected


@st.composite
def statements(draw):
    state = draw(st.sampled_from(ConsentState))
    anything = [None] if state.refuses else []
    return Statement(
        draw(st.sampled_from(["default", "Default", "other", *anything])),
        draw(st.sampled_from(["email", "sms", *anything])),
        draw(st.sampled_from(["marketing", "service", *anything])),
        state,
        NOW + timedelta(hours=draw(st.integers(-3, 2))),
        NOW + timedelta(hours=draw(st.integers(-1, 1))) if state.permits and draw(st.booleans()) else None,
    )


INSERT = sa.text("""
    insert into audience.consent (customer_id, brand, channel, purpose, at, state, source, expires_at, recorded_at)
    values (:customer, coalesce(:brand, '*'), coalesce(:channel, '*'), coalesce(:purpose, '*'), :at, :state, 'test',
            :expires_at, :at)
        on conflict do nothing
""")
WITHDRAW = sa.text("""
    insert into feedback.withdrawal (customer_id, event_id, brand, channel, purpose, at, reason, batch_id)
    values (:customer, :event, :brand, :channel, :purpose, :at, 'unsubscribed', 0)
""")


def same_statement(one):
    return one[:5]


@settings(deadline=None)
@given(st.lists(st.lists(statements(), max_size=5, unique_by=same_statement), min_size=1, max_size=8), st.booleans())
def test_the_database_decides_as_the_rule_says(owner_engine, people, from_feedback):
    """Whether the withdrawals stand in audience's record or still only in what feedback publishes."""
    with Db(owner_engine) as db:
        for index, found in enumerate(people):
            for place, one in enumerate(found):
                row = {**one._asdict(), "customer": f"p{index}", "state": one.state.value, "event": str(place)}
                heard = from_feedback and one.state is ConsentState.WITHDRAWN
                db.execute(WITHDRAW if heard else INSERT, row)
        allowed = queries.permitted(db, [f"p{index}" for index in range(len(people))], SCOPE, NOW)
        db.rollback()
    assert allowed == {f"p{index}" for index, found in enumerate(people) if permitted(found, SCOPE, NOW)}


GRANT = {"purpose": "marketing", "state": "granted", "source": "checkout"}


def test_nothing_is_overwritten_and_the_newest_comes_first(audience, load, unique):
    load([{"customer_id": unique}])
    path = f"/v1/customers/{unique}/consents"
    for state, at in (("granted", "2024-01-01T00:00:00Z"), ("withdrawn", "2024-02-01T00:00:00Z")):
        body = {**GRANT, "state": state, "at": at, "wording": "Yes, write to me.", "evidence": {"form": 7}}
        assert audience.put(f"{path}/email", json=body).status_code == 200
    first = audience.get(path, params={"limit": 1}).json()
    second = audience.get(path, params={"limit": 1, "cursor": first["next_cursor"]}).json()
    assert [one["state"] for one in first["items"] + second["items"]] == ["withdrawn", "granted"]
    assert second["items"][0]["evidence"] == {"form": 7}
    assert second["next_cursor"] is None


def test_the_same_statement_again_changes_nothing(audience, load, unique):
    load([{"customer_id": unique}])
    path = f"/v1/customers/{unique}/consents"
    body = {**GRANT, "at": "2024-01-01T00:00:00Z"}
    assert audience.put(f"{path}/email", json=body).json() == audience.put(f"{path}/email", json=body).json()
    assert len(audience.get(path).json()["items"]) == 1


ENDED, LATER_END = "2025-06-01T00:00:00Z", "2190-01-01T00:00:00Z"


@pytest.mark.parametrize("ends", [(None, ENDED), (ENDED, None), (LATER_END, ENDED), (ENDED, LATER_END)])
@pytest.mark.parametrize("door", ["call", "load", "one load"])
def test_of_two_ends_of_one_permission_the_earlier_holds(audience, load, unique, door, ends):
    said = [{**GRANT, "at": "2025-01-01T00:00:00Z", "expires_at": end} for end in ends]
    rows = [{"customer_id": unique, "consents": [one | {"channel": "email"}]} for one in said]
    load([{"customer_id": unique, "contact_points": [{"channel": "email", "handle": "h"}]}])
    if door == "call":
        answers = [audience.put(f"/v1/customers/{unique}/consents/email", json=one).json() for one in said]
        assert answers[-1]["expires_at"] == ENDED
        assert [len(one["warnings"]) for one in answers] == [0, ends[0] == ENDED]
    for chunk in {"call": [], "load": [rows[:1], rows[1:]], "one load": [rows]}[door]:
        assert load(chunk)["accepted"] == len(chunk)
    assert [one["expires_at"] for one in audience.get(f"/v1/customers/{unique}/consents").json()["items"]] == [ENDED]
    body = {"customer_ids": [unique], "channel": "email", "purpose": "marketing"}
    assert audience.post("/v1/send-checks", json=body).json()["checks"][0]["reason"] == "not permitted"


@pytest.mark.parametrize("order", [("granted", "denied"), ("denied", "granted")])
def test_of_undated_statements_in_one_load_the_refusal_holds_whatever_their_order(audience, load, unique, order):
    point = {"contact_points": [{"channel": "email", "handle": "h"}]}
    load([{"customer_id": unique, "consents": [GRANT | {"channel": "email", "state": one}], **point} for one in order])
    body = {"customer_ids": [unique], "channel": "email", "purpose": "marketing"}
    assert audience.post("/v1/send-checks", json=body).json()["checks"][0]["reason"] == "not permitted"


def test_other_words_for_a_statement_on_record_are_not_kept_and_the_answer_says_so(audience, load, unique):
    load([{"customer_id": unique}])
    path = f"/v1/customers/{unique}/consents/email"
    body = {**GRANT, "at": "2024-01-01T00:00:00Z", "wording": "Yes.", "evidence": {"form": 7}}
    assert audience.put(path, json=body).json()["warnings"] == []
    told = audience.put(path, json=body | {"wording": "No news.", "evidence": {"form": 8}}).json()
    assert (told["wording"], told["evidence"]) == ("Yes.", {"form": 7})
    assert "another `wording`, `evidence`" in told["warnings"][0]


@pytest.mark.parametrize(
    ("channel", "change", "pointer"),
    [
        ("email", {"state": "maybe"}, "/state"),
        ("email", {"state": None}, "/state"),
        ("email", {"at": "2024-01-01T00:00:00"}, "/at"),
        ("email", {"at": "9999-12-31T00:00:00Z"}, "/at"),
        ("email", {"at": "2199-01-01T00:00:00Z"}, "/at"),
        ("email", {"source": ""}, "/source"),
        ("email", {"source": "told by ada@example.com"}, "/source"),
        ("email", {"evidence": {"from": "ada@example.com"}}, "/evidence"),
        ("email", {"purpose": "no spaces allowed"}, "/purpose"),
        ("email", {"purpose": None}, "/purpose"),
        ("email", {"brand": None}, "/brand"),
        ("email", {"state": "denied", "expires_at": "2030-01-01T00:00:00Z"}, "/expires_at"),
        ("email", {"colour": "blue"}, "/colour"),
        ("*", {}, "/state"),
        ("emial", {"state": "denied"}, "#path/channel"),
        ("email", {"state": "denied", "purpose": "marketin"}, "/purpose"),
    ],
)
def test_a_statement_that_makes_no_sense_is_refused_at_its_field(audience, load, unique, channel, change, pointer):
    load([{"customer_id": unique}])
    answer = audience.put(f"/v1/customers/{unique}/consents/{channel}", json=GRANT | change)
    assert answer.status_code == 422
    assert pointer in {error["pointer"] for error in answer.json()["errors"]}
    assert audience.get(f"/v1/customers/{unique}/consents").json()["items"] == []


def test_a_permission_from_a_clock_that_runs_ahead_never_outlives_a_later_withdrawal(audience, load, unique):
    soon, ahead = (datetime.now(UTC) + timedelta(minutes=minutes) for minutes in (2, 120))
    grant = {"channel": "email", **GRANT}
    report = load(
        [
            {"customer_id": f"{unique}-ahead", "consents": [grant | {"at": ahead.isoformat()}]},
            {"customer_id": f"{unique}-loaded", "consents": [grant | {"at": soon.isoformat()}]},
            {"customer_id": f"{unique}-told"},
        ]
    )
    assert [(one["pointer"], one["rows"]) for one in report["reasons"]] == [("/consents/0/at", 1)]
    path = f"/v1/customers/{unique}-told/consents/email"
    assert audience.put(path, json=GRANT | {"at": ahead.isoformat()}).status_code == 422
    assert audience.put(path, json=GRANT | {"at": soon.isoformat()}).status_code == 200
    withdrawal = {"state": "withdrawn", "source": "telephone", "purpose": "marketing"}
    for name in ("loaded", "told"):
        path = f"/v1/customers/{unique}-{name}/consents"
        audience.put(f"{path}/email", json=withdrawal)
        assert [one["state"] for one in audience.get(path).json()["items"]] == ["withdrawn", "granted"]


def test_a_refusal_keeps_its_own_time_and_a_permission_is_as_old_as_its_arrival():
    assert dated(NO, LATER, NOW) == LATER
    assert (dated(YES, LATER, NOW), dated(YES, EARLIER, NOW)) == (NOW, EARLIER)


def test_permission_of_an_unknown_customer_is_not_found(audience, unique):
    assert audience.put(f"/v1/customers/{unique}/consents/email", json=GRANT).status_code == 404
    assert audience.get(f"/v1/customers/{unique}/consents").status_code == 404


def test_a_permission_that_a_load_repeats_does_not_bring_back_what_was_withdrawn(audience, load, unique, owner_engine):
    consent = {"channel": "email", "purpose": "marketing", "state": "granted", "source": "crm"}
    again = [{"customer_id": unique, "consents": [consent]}, {"customer_id": f"{unique}-2", "consents": [consent]}]
    load(again)
    withdrawal = {"state": "withdrawn", "source": "telephone", "purpose": "marketing"}
    audience.put(f"/v1/customers/{unique}/consents/email", json=withdrawal)
    with owner_engine.begin() as connection:
        row = {**Statement(None, None, None, NO, datetime.now(UTC))._asdict(), "customer": f"{unique}-2", "event": "e"}
        connection.execute(WITHDRAW, row)
    load(again)
    body = {"customer_ids": [unique, f"{unique}-2"], "channel": "email", "purpose": "marketing"}
    point = [{"channel": "email", "handle": "h"}]
    load([{"customer_id": one, "contact_points": point} for one in body["customer_ids"]])
    assert [one["reason"] for one in audience.post("/v1/send-checks", json=body).json()["checks"]] == [
        "not permitted"
    ] * 2
    now = datetime.now(UTC).isoformat()
    load([{"customer_id": one, "consents": [consent | {"at": now}]} for one in body["customer_ids"]])
    assert [one["sendable"] for one in audience.post("/v1/send-checks", json=body).json()["checks"]] == [True, True]
