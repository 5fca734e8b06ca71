"""Target lists: frozen, explained step by step, drawn exactly, and the same again from the same data."""

import csv
import hashlib
import io
import json
import threading
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import sqlalchemy as sa

from services.audience.draw import held_out, lot

GRANTED = [{"channel": "email", "purpose": "marketing", "state": "granted", "source": "test"}]
POINTS = [{"channel": "email", "handle": "h"}]
STEPS = ["matched", "reachable", "permitted", "not suppressed", "not fatigued", "not in global control",
         "ranked and limited", "holdout drawn", "selected"]  # fmt: skip


def person(name, age=30, city="Lyon", **more):
    row = {"customer_id": name, "attributes": {"age": age, "city": city}}
    return {**row, "contact_points": POINTS, "consents": GRANTED, **more}


@pytest.fixture
def crowd(audience, load, unique):
    """Twenty customers who can be contacted, of ages 20 to 39, in a segment of their own; gives its key."""
    load([person(f"{unique}-{i:02}", age=20 + i, city="Lyon" if i % 2 else "Porto") for i in range(20)])
    definition = {"attribute": "city", "is": "in", "value": ["Lyon", "Porto"]}
    return segment_of(audience, load, unique, definition)


def segment_of(audience, load, unique, definition):
    """A segment narrowed to this test's customers by an attribute of their own."""
    own = f"mark_{unique}"
    audience.put(f"/v1/attributes/{own}", json={"type": "boolean"})
    known = [one["customer_id"] for one in everybody(audience) if one["customer_id"].startswith(unique)]
    load([{"customer_id": customer, "attributes": {own: True}} for customer in known])
    body = {"key": f"s-{unique}", "definition": {"all": [{"attribute": own, "is": "eq", "value": True}, definition]}}
    answer = audience.post("/v1/segments", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()["key"]


def everybody(audience):
    found, cursor = [], None
    while True:
        page = audience.get("/v1/customers", params={"limit": 1000} | ({"cursor": cursor} if cursor else {})).json()
        found += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return found


def wanted(segment, name, **more):
    return {"name": name, "segment_id": segment, "channel": "email", "purpose": "marketing", **more}


def build(audience, segment, name, **more):
    answer = audience.post("/v1/target-lists", json=wanted(segment, name, **more))
    assert answer.status_code == 201, answer.text
    return answer.json()


def members(audience, target_list):
    answer = audience.get(f"/v1/target-lists/{target_list['id']}/members", headers={"Accept": "application/x-ndjson"})
    assert answer.status_code == 200
    return [json.loads(line) for line in answer.text.splitlines()]


def removed(target_list):
    return {step["step"]: step["removed"] for step in target_list["funnel"]}


def test_the_funnel_says_what_each_step_took_away_and_adds_up(audience, load, unique, owner_engine):
    load(
        [
            *(person(f"{unique}-ok{i}") for i in range(6)),
            person(f"{unique}-unreachable", contact_points=[]),
            person(f"{unique}-bounced", contact_points=[{"channel": "email", "handle": "h", "status": "bounced"}]),
            person(f"{unique}-silent", consents=[]),
            person(f"{unique}-withdrew"),
            person(f"{unique}-suppressed"),
            person(f"{unique}-tired"),
            person(f"{unique}-elsewhere", city="Paris"),
        ]
    )
    body = {"state": "withdrawn", "source": "test", "purpose": None}
    audience.put(f"/v1/customers/{unique}-withdrew/consents/email", json=body)
    audience.post("/v1/suppressions", json={"customer_id": f"{unique}-suppressed", "reason": "asked"})
    for days in (1, 2):
        event(owner_engine, f"{unique}-tired", days_ago=days)
    event(owner_engine, f"{unique}-ok0", days_ago=1)
    event(owner_engine, f"{unique}-ok0", days_ago=30)
    segment = segment_of(audience, load, unique, {"attribute": "city", "is": "eq", "value": "Lyon"})
    built = build(audience, segment, unique, limit=5, holdout_share=0.4, max_contacts={"count": 2, "days": 7})
    assert [step["step"] for step in built["funnel"]] == STEPS
    counts = [step["count"] for step in built["funnel"]]
    assert counts == [12, 10, 8, 7, 6, 6, 5, 3, 3]
    for before, step in zip(counts, built["funnel"][1:], strict=False):
        assert before - step["removed"] == step["count"]
    assert (built["count"], built["held_out"]) == (3, 2)
    kept = members(audience, built)
    assert (len(kept), sum(member["held_out"] for member in kept)) == (5, 2)


def event(engine, customer, days_ago, kind="sent", target_list=None):
    statement = sa.text("""
        insert into feedback.event (customer_id, event_id, kind, occurred_at, received_at, batch_id, target_list)
        values (:customer, cast(gen_random_uuid() as text), :kind, :at, :at, 0, :list)
    """)
    at = datetime.now(UTC) - timedelta(days=days_ago)
    with engine.begin() as connection:
        connection.execute(statement, {"customer": customer, "kind": kind, "list": target_list, "at": at})


def test_members_come_in_the_order_of_their_rank_and_the_limit_cuts_it(audience, crowd, unique):
    built = build(audience, crowd, unique, rank_by={"attribute": "age"}, limit=5)
    found = members(audience, built)
    assert [member["customer_id"] for member in found] == [f"{unique}-{i}" for i in (19, 18, 17, 16, 15)]
    assert [member["rank"] for member in found] == [1, 2, 3, 4, 5]
    assert found[0]["features"]["age"] == 39


def test_rising_order_and_missing_values_last(audience, load, unique):
    load([person(f"{unique}-a", age=50), person(f"{unique}-b", age=None), person(f"{unique}-c", age=20)])
    segment = segment_of(audience, load, unique, {"attribute": "city", "is": "eq", "value": "Lyon"})
    built = build(audience, segment, unique, rank_by={"attribute": "age", "order": "ascending"})
    assert [member["customer_id"][-1] for member in members(audience, built)] == ["c", "a", "b"]


def test_without_a_rank_the_seed_decides_the_order(audience, crowd, unique):
    built = build(audience, crowd, unique, seed="dice")
    order = [member["customer_id"] for member in members(audience, built)]
    assert order == sorted(order, key=lambda customer: lot("dice order", customer))


def test_the_same_list_again_has_the_same_digest_and_another_seed_another(audience, crowd, unique):
    asked = {"rank_by": {"attribute": "age"}, "limit": 15, "holdout_share": 0.2, "strata": [{"attribute": "city"}]}
    first = build(audience, crowd, f"{unique} a", seed="dice", **asked)
    again = build(audience, crowd, f"{unique} b", seed="dice", **asked)
    other = build(audience, crowd, f"{unique} c", seed="coin", **asked)
    assert first["digest"] == again["digest"] != other["digest"]
    assert members(audience, first) == members(audience, again)


def test_the_digest_can_be_recomputed_from_the_members(audience, crowd, unique):
    built = build(audience, crowd, unique, holdout_share=0.25, strata=[{"attribute": "city"}])
    lines = [
        json.dumps([member["customer_id"], member["stratum"], member["held_out"]], ensure_ascii=False)
        for member in members(audience, built)
    ]
    assert built["digest"] == hashlib.sha256("\n".join(lines).encode()).hexdigest()


@pytest.mark.parametrize(
    ("share", "strata"), [(0.0, []), (0.1, []), (0.25, ["city"]), (0.5, ["city", "age"]), (0.99, [])]
)
def test_exactly_the_share_is_held_out_as_the_rule_draws_it(audience, crowd, unique, share, strata):
    asked = {"holdout_share": share, "strata": [{"attribute": name} for name in strata], "seed": "dice", "limit": 18}
    built = build(audience, crowd, unique, **asked)
    found = members(audience, built)
    drawn = held_out({member["customer_id"]: member["stratum"] for member in found}, share, "dice holdout")
    assert {member["customer_id"] for member in found if member["held_out"]} == drawn
    assert built["held_out"] == len(drawn) == int(18 * share + 0.5)
    if strata == ["city"]:
        assert {member["stratum"] for member in found} == {"city=Lyon", "city=Porto"}


def test_a_dry_run_shows_the_list_that_the_same_call_builds_and_stores_nothing(audience, crowd, unique):
    asked = {"limit": 7, "holdout_share": 0.3, "rank_by": {"attribute": "age"}}
    rehearsed = build(audience, crowd, unique, dry_run=True, **asked)
    assert rehearsed["id"] is None
    assert audience.get("/v1/target-lists", params={"name": unique}).json()["items"] == []
    built = build(audience, crowd, unique, **asked)
    same = ("digest", "funnel", "count", "held_out", "seed", "segment_version", "limit")
    assert [rehearsed[name] for name in same] == [built[name] for name in same]


def test_members_are_frozen_while_portraits_change(audience, crowd, load, unique):
    built = build(audience, crowd, unique, rank_by={"attribute": "age"}, limit=1)
    load([{"customer_id": f"{unique}-19", "attributes": {"age": 1}}])
    assert members(audience, built)[0]["features"]["age"] == 39


def test_features_hold_no_trait_that_was_computed_after_the_list(audience, crowd, unique):
    traits = [
        {"customer_id": f"{unique}-00", "traits": {"early": 1.5}, "computed_at": "2024-01-01T00:00:00Z", "model": "m"},
        {"customer_id": f"{unique}-00", "traits": {"late": 2.5}, "computed_at": "2024-03-01T00:00:00Z", "model": "m"},
    ]
    assert audience.post("/v1/traits", json=traits).json()["accepted"] == 2
    past = build(audience, crowd, unique, as_of="2024-02-01T00:00:00Z", rank_by={"trait": "early"})
    first = members(audience, past)[0]
    assert first["customer_id"] == f"{unique}-00"
    assert {name: first["features"].get(name) for name in ("early", "late", "age")} == {
        "early": 1.5,
        "late": None,
        "age": 20,
    }
    by_late = build(
        audience, crowd, f"{unique} late", as_of="2024-02-01T00:00:00Z", rank_by={"trait": "late"}, seed="x"
    )
    no_rank = build(audience, crowd, f"{unique} none", as_of="2024-02-01T00:00:00Z", seed="x")
    assert by_late["digest"] == no_rank["digest"]


def test_who_objects_to_profiling_is_ranked_last_and_has_no_features(audience, crowd, load, unique):
    load([{"customer_id": f"{unique}-19", "profiling": False}])
    built = build(audience, crowd, unique, rank_by={"attribute": "age"})
    last = members(audience, built)[-1]
    assert (last["customer_id"], last["features"]) == (f"{unique}-19", {})


def test_another_list_reserves_contacts_and_those_held_out_keep_their_place(audience, crowd, unique):
    cap = {"max_contacts": {"count": 1, "days": 7}}
    first = build(audience, crowd, f"{unique} first", rank_by={"attribute": "age"}, limit=8, holdout_share=0.5, **cap)
    second = build(audience, crowd, f"{unique} second", **cap)
    assert removed(second)["not fatigued"] == 8
    taken = {member["customer_id"] for member in members(audience, first)}
    assert taken.isdisjoint(member["customer_id"] for member in members(audience, second))


def test_what_was_sent_is_not_counted_beside_its_reservation(audience, crowd, unique, owner_engine):
    first = build(audience, crowd, f"{unique} first", rank_by={"attribute": "age"}, limit=1)
    event(owner_engine, f"{unique}-19", days_ago=-0.00001, target_list=first["id"])
    event(owner_engine, f"{unique}-19", days_ago=0.00001, target_list=first["id"])
    second = build(audience, crowd, f"{unique} second", max_contacts={"count": 3, "days": 7})
    assert removed(second)["not fatigued"] == 0


def test_a_service_message_bypasses_caps(audience, load, unique, owner_engine):
    consents = [{"channel": "email", "purpose": "service", "state": "granted", "source": "contract"}]
    load([person(unique, consents=consents)])
    event(owner_engine, unique, days_ago=1)
    segment = segment_of(audience, load, unique, {"attribute": "city", "is": "eq", "value": "Lyon"})
    campaign = {"key": unique, "name": "Recall", "channel": "email", "purpose": "service"}
    assert audience.post("/v1/campaigns", json=campaign).status_code == 201
    asked = {"name": unique, "segment_id": segment, "campaign": unique, "max_contacts": {"count": 1, "days": 7}}
    built = audience.post("/v1/target-lists", json=asked).json()
    assert (built["count"], built["purpose"], built["channel"]) == (1, "service", "email")


def test_two_builds_of_one_name_at_once_give_one_list(audience, crowd, unique):
    answers = at_once(audience, [{}, {}, {}], wanted(crowd, unique))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409]
    assert len(audience.get("/v1/target-lists", params={"name": unique}).json()["items"]) == 1


def test_two_builds_with_one_idempotency_key_get_the_same_answer(audience, crowd, unique):
    answers = at_once(audience, [{"Idempotency-Key": unique}] * 3, wanted(crowd, unique))
    assert [answer.status_code for answer in answers] == [201] * 3
    assert len({answer.json()["id"] for answer in answers}) == 1


def test_two_capped_builds_at_once_never_share_a_contact(audience, crowd, unique):
    bodies = [wanted(crowd, f"{unique} {i}", limit=12, max_contacts={"count": 1, "days": 7}) for i in range(2)]
    answers = at_once(audience, [{}, {}], *bodies)
    found = [{member["customer_id"] for member in members(audience, answer.json())} for answer in answers]
    assert sorted(len(one) for one in found) == [8, 12]
    assert found[0].isdisjoint(found[1])


def at_once(audience, headers, *bodies):
    answers = []

    def post(own_headers, body):
        with httpx.Client(base_url=audience.base_url, headers=audience.headers, timeout=60) as client:
            answers.append(client.post("/v1/target-lists", json=body, headers=own_headers))

    every = [(one, bodies[index % len(bodies)]) for index, one in enumerate(headers)]
    threads = [threading.Thread(target=post, args=one) for one in every]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_a_list_of_nobody_is_refused_and_its_name_stays_free(audience, crowd, load, unique):
    nobody = {"channel": "fax", "purpose": "marketing", "name": unique, "segment_id": crowd}
    answer = audience.post("/v1/target-lists", json=nobody)
    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"pointer": "/segment_id", "detail": "0 left at the step: reachable"}]
    assert build(audience, crowd, unique)["count"] == 20


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"segment_id": "no-such-segment"}, "/segment_id"),
        ({"segment_id": ""}, "/segment_id"),
        ({"campaign": "no-such-campaign"}, "/campaign"),
        ({"channel": None}, ""),
        ({"channel": "e mail"}, "/channel"),
        ({"name": ""}, "/name"),
        ({"name": "a\x00b"}, "/name"),
        ({"limit": 0}, "/limit"),
        ({"limit": 2**70}, "/limit"),
        ({"holdout_share": 1}, "/holdout_share"),
        ({"holdout_share": -0.1}, "/holdout_share"),
        ({"max_contacts": {"count": 0, "days": 1}}, "/max_contacts/count"),
        ({"rank_by": {}}, "/rank_by"),
        ({"rank_by": {"attribute": "age", "trait": "age"}}, "/rank_by"),
        ({"rank_by": {"attribute": "city"}}, "/rank_by/attribute"),
        ({"rank_by": {"attribute": "nothing"}}, "/rank_by/attribute"),
        ({"strata": [{"attribute": "nothing"}]}, "/strata/0/attribute"),
        ({"as_of": "2999-01-01T00:00:00Z"}, "/as_of"),
        ({"as_of": "2100-01-01T00:00:00Z"}, "/as_of"),
        ({"as_of": "2024-01-01T00:00:00"}, "/as_of"),
        ({"valid_hours": 0}, "/valid_hours"),
        ({"speed": 1}, "/speed"),
    ],
)
def test_a_list_that_makes_no_sense_is_refused_at_its_field(audience, crowd, unique, change, pointer):
    answer = audience.post("/v1/target-lists", json=wanted(crowd, unique) | change)
    assert answer.status_code == 422
    assert pointer in {error["pointer"] for error in answer.json()["errors"]}
    assert audience.get("/v1/target-lists", params={"name": unique}).json()["items"] == []


def test_what_is_said_beside_a_campaign_must_agree_with_it(audience, crowd, unique):
    campaign = {"key": unique, "name": "Spring", "channel": "email", "purpose": "marketing", "brand": "nord"}
    audience.post("/v1/campaigns", json=campaign)
    answer = audience.post("/v1/target-lists", json=wanted(crowd, unique, campaign=unique, channel="sms"))
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/channel"]


def test_members_are_paged_streamed_and_looked_up(audience, crowd, unique):
    built = build(audience, crowd, unique, holdout_share=0.25)
    path = f"/v1/target-lists/{built['id']}/members"
    everyone = members(audience, built)
    first = audience.get(path, params={"limit": 15}).json()
    second = audience.get(path, params={"limit": 15, "cursor": first["next_cursor"]}).json()
    assert first["items"] + second["items"] == everyone
    rows = list(csv.DictReader(io.StringIO(audience.get(path, headers={"Accept": "text/csv"}).text)))
    assert [row["customer_id"] for row in rows] == [member["customer_id"] for member in everyone]
    contacted = audience.get(path, params={"held_out": False}, headers={"Accept": "application/x-ndjson"})
    assert len(contacted.text.splitlines()) == 15
    assert audience.get(f"{path}/{unique}-00").json() in everyone
    assert audience.get(f"{path}/nobody").status_code == 404
    assert audience.get(path, params={"cursor": audience_cursor(audience)}).status_code == 422


def audience_cursor(audience):
    return audience.get("/v1/customers", params={"limit": 1}).json()["next_cursor"]


def test_the_difference_of_two_lists(audience, crowd, unique):
    older = build(audience, crowd, f"{unique} a", rank_by={"attribute": "age"}, limit=10)
    newer = build(audience, crowd, f"{unique} b", rank_by={"attribute": "age", "order": "ascending"}, limit=12)
    path = f"/v1/target-lists/{newer['id']}/diff"
    found = audience.get(path, params={"against": older["id"], "limit": 11}).json()
    assert (found["added"], found["removed"], found["kept"]) == (10, 8, 2)
    rest = audience.get(path, params={"against": older["id"], "limit": 11, "cursor": found["next_cursor"]}).json()
    changes = {one["customer_id"]: one["change"] for one in found["items"] + rest["items"]}
    assert len(changes) == 18
    assert (changes[f"{unique}-00"], changes[f"{unique}-19"]) == ("added", "removed")


def test_release_and_expiry(audience, crowd, unique, owner_engine):
    built = build(audience, crowd, unique)
    path = f"/v1/target-lists/{built['id']}"
    assert built["state"] == "built"
    released = audience.post(f"{path}/release").json()
    assert released["state"] == "released"
    assert audience.post(f"{path}/release").json() == released
    late = build(audience, crowd, f"{unique} late")
    with owner_engine.begin() as connection:
        expire = sa.text("update audience.target_list set expires_at = now() where id = :id")
        connection.execute(expire, {"id": late["id"]})
    assert audience.get(f"/v1/target-lists/{late['id']}").json()["state"] == "expired"
    assert audience.post(f"/v1/target-lists/{late['id']}/release").status_code == 409
    assert reasons(audience, late["id"], [f"{unique}-00"]) == ["list expired"]


def test_the_check_at_sending_knows_the_list(audience, crowd, load, unique):
    built = build(audience, crowd, unique, rank_by={"attribute": "age"}, limit=4, holdout_share=0.25)
    found = members(audience, built)
    held = next(member["customer_id"] for member in found if member["held_out"])
    one, gone, _ = (member["customer_id"] for member in found if not member["held_out"])
    load([{"customer_id": gone, "consents": [{"state": "withdrawn", "source": "test"}]}])
    assert reasons(audience, built["id"], [one, gone, held, f"{unique}-00"]) == [
        None,
        "not permitted",
        "held out",
        "not on the list",
    ]


def reasons(audience, list_id, customers):
    answer = audience.post("/v1/send-checks", json={"target_list_id": list_id, "customer_ids": customers})
    return [one["reason"] for one in answer.json()["checks"]]


def test_the_published_view_shows_the_members(audience, crowd, unique, experiments_engine):
    built = build(audience, crowd, unique, holdout_share=0.25)
    statement = sa.text("select * from published.audience_list_members as m where m.list_id = :id order by m.rank")
    with experiments_engine.connect() as connection:
        rows = [dict(row) for row in connection.execute(statement, {"id": built["id"]}).mappings()]
    assert [{name: row[name] for name in row if name != "list_id"} for row in rows] == members(audience, built)


def test_an_unknown_list_is_not_found(audience):
    unknown = "01958f3e-8f6a-7cc1-b1a4-6a2f6f3c9f10"
    for path in (unknown, f"{unknown}/members", f"{unknown}/members/c", f"{unknown}/diff?against={unknown}"):
        assert audience.get(f"/v1/target-lists/{path}").status_code == 404
    assert audience.post(f"/v1/target-lists/{unknown}/release").status_code == 404
