"""Target lists: frozen, explained step by step, drawn exactly, and the same again from the same data."""

import hashlib
import json
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from services.audience.draw import held_out, lot
from services.audience.queries import traits
from tests.audience.targeting import build, event, members, person, removed, segment_of

STEPS = ["matched", "reachable", "permitted", "not suppressed", "not fatigued", "not in global control",
         "ranked and limited", "holdout drawn", "selected"]  # fmt: skip


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
    segment = segment_of(audience, unique, {"attribute": "city", "is": "eq", "value": "Lyon"})
    built = build(audience, segment, unique, limit=5, holdout_share=0.4, max_contacts={"count": 2, "days": 7})
    assert [step["step"] for step in built["funnel"]] == STEPS
    counts = [step["count"] for step in built["funnel"]]
    assert counts == [12, 10, 8, 7, 6, 6, 5, 3, 3]
    for before, step in zip(counts, built["funnel"][1:], strict=False):
        assert before - step["removed"] == step["count"]
    assert (built["count"], built["held_out"]) == (3, 2)
    kept = members(audience, built)
    assert (len(kept), sum(member["held_out"] for member in kept)) == (5, 2)


def test_members_come_in_the_order_of_their_rank_and_the_limit_cuts_it(audience, crowd, unique):
    built = build(audience, crowd, unique, rank_by={"attribute": "age"}, limit=5)
    found = members(audience, built)
    assert [member["customer_id"] for member in found] == [f"{unique}-{i}" for i in (19, 18, 17, 16, 15)]
    assert [member["rank"] for member in found] == [1, 2, 3, 4, 5]
    assert found[0]["features"]["age"] == 39


def test_rising_order_and_missing_values_last(audience, load, unique):
    load([person(f"{unique}-a", age=50), person(f"{unique}-b", age=None), person(f"{unique}-c", age=20)])
    segment = segment_of(audience, unique, {"attribute": "city", "is": "eq", "value": "Lyon"})
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
    ("share", "strata"), [(0.0, []), (0.1, []), (0.25, ["city"]), (0.5, ["city", "age"]), (0.95, [])]
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


def test_whether_anybody_has_a_trait_of_texts_is_known_at_the_first_who_does(owner_engine):
    fill = sa.text("""
        insert into audience.customer (customer_id, traits, known_at, updated_at)
        select cast(i as text), '{"likes": {"value": "shoes", "computed_at": "2024-01-01T00:00:00Z"}}', now(), now()
          from generate_series(1, 200) as i
    """)
    with owner_engine.connect() as connection:
        connection.exec_driver_sql("truncate audience.customer cascade")
        connection.execute(fill)
        read = sa.text(f"explain (analyze, format json) {traits.HELD.text}")
        plan = connection.execute(read, {"names": ["likes"], "as_of": datetime.now(UTC)}).scalar_one()
        assert sum(customers_read(plan[0]["Plan"])) < 200
        connection.rollback()


def customers_read(node):
    """How many rows of customers each part of a plan looked at."""
    if node.get("Relation Name") == "customer":
        yield (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
    for part in node.get("Plans", []):
        yield from customers_read(part)


def test_members_are_frozen_while_portraits_change(audience, crowd, load, unique):
    built = build(audience, crowd, unique, rank_by={"attribute": "age"}, limit=1)
    load([{"customer_id": f"{unique}-19", "attributes": {"age": 1}}])
    assert members(audience, built)[0]["features"]["age"] == 39


def test_features_hold_no_trait_that_was_computed_after_the_list(audience, crowd, unique):
    traits = [
        {"customer_id": f"{unique}-00", "traits": {"early": 1.5}, "computed_at": "2024-01-01T00:00:00Z", "model": "m"},
        {"customer_id": f"{unique}-00", "traits": {"late": 2.5}, "computed_at": "2024-03-01T00:00:00Z", "model": "m"},
        {"customer_id": f"{unique}-01", "traits": {"late": 0.5}, "computed_at": "2024-01-01T00:00:00Z", "model": "m"},
    ]
    assert audience.post("/v1/traits", json=traits).json()["accepted"] == 3
    past = build(audience, crowd, unique, as_of="2024-02-01T00:00:00Z", rank_by={"trait": "early"})
    first = members(audience, past)[0]
    assert first["customer_id"] == f"{unique}-00"
    assert {name: first["features"].get(name) for name in ("early", "late", "age")} == {
        "early": 1.5,
        "late": None,
        "age": 20,
    }
    by_late = build(audience, crowd, f"{unique} late", as_of="2024-02-01T00:00:00Z", rank_by={"trait": "late"}, limit=1)
    assert [one["customer_id"] for one in members(audience, by_late)] == [f"{unique}-01"]


def test_who_objects_to_profiling_is_ranked_last_and_has_no_features(audience, crowd, load, unique):
    load([{"customer_id": f"{unique}-19", "profiling": False}])
    built = build(audience, crowd, unique, rank_by={"attribute": "age"})
    last = members(audience, built)[-1]
    assert (last["customer_id"], last["features"]) == (f"{unique}-19", {})


def test_numbers_that_no_other_reader_could_hold_break_no_ranking(audience, crowd, unique, owner_engine):
    store = sa.text("""
        update audience.customer as c
           set traits = jsonb_build_object('vast', jsonb_build_object(
                   'value', cast(:value as numeric), 'computed_at', '2024-01-01T00:00:00+00:00', 'model', 'm'))
         where c.customer_id = :customer
    """)
    with owner_engine.begin() as connection:
        for number, value in (("07", "1e400"), ("05", "-1e400"), ("03", "1e-400")):
            connection.execute(store, {"value": value, "customer": f"{unique}-{number}"})
    found = members(audience, build(audience, crowd, unique, rank_by={"trait": "vast"}, limit=3))
    assert [one["customer_id"][-2:] for one in found] == ["07", "03", "05"]


def test_no_value_of_who_objects_to_profiling_makes_a_stratum(audience, crowd, load, unique):
    trait = {"traits": {"churn": 0.5}, "computed_at": "2024-01-01T00:00:00Z", "model": "m"}
    audience.post("/v1/traits", json=[trait | {"customer_id": f"{unique}-{i}"} for i in (17, 19)])
    load([{"customer_id": f"{unique}-19", "profiling": False}])
    strata = [{"attribute": "city"}, {"trait": "churn"}]
    found = {one["customer_id"]: one for one in members(audience, build(audience, crowd, unique, strata=strata))}
    assert found[f"{unique}-19"]["stratum"] == "city= | churn="
    assert found[f"{unique}-18"]["stratum"] == "city=Porto | churn="


def test_another_list_reserves_contacts_and_those_held_out_keep_their_place(audience, crowd, unique):
    cap = {"max_contacts": {"count": 1, "days": 7}}
    first = build(audience, crowd, f"{unique} first", rank_by={"attribute": "age"}, limit=8, holdout_share=0.5, **cap)
    second = build(audience, crowd, f"{unique} second", **cap)
    assert removed(second)["not fatigued"] == 8
    taken = {member["customer_id"] for member in members(audience, first)}
    assert taken.isdisjoint(member["customer_id"] for member in members(audience, second))


@pytest.mark.parametrize("of_the_past", ["first", "second"])
def test_contacts_are_those_before_the_list_is_built_whatever_moment_it_is_of(
    audience, crowd, unique, owner_engine, of_the_past
):
    three_weeks_ago = (datetime.now(UTC) - timedelta(days=21)).isoformat()
    of_first, of_second = (three_weeks_ago if of_the_past == name else None for name in ("first", "second"))
    event(owner_engine, f"{unique}-00", days_ago=1)
    first = build(audience, crowd, f"{unique} first", rank_by={"attribute": "age"}, limit=4, as_of=of_first)
    capped = {"max_contacts": {"count": 1, "days": 7}, "as_of": of_second}
    second = build(audience, crowd, f"{unique} second", dry_run=True, **capped)
    assert removed(second)["not fatigued"] == 5
    assert audience.post(f"/v1/target-lists/{first['id']}/release").status_code == 200
    age = sa.text("update audience.target_list set expires_at = now(), released_at = now() - :ago where id = :id")
    for days, tired in ((6, 5), (8, 1)):
        with owner_engine.begin() as connection:
            connection.execute(age, {"ago": timedelta(days=days), "id": first["id"]})
        again = build(audience, crowd, f"{unique} {days}", dry_run=True, **capped)
        assert removed(again)["not fatigued"] == tired


def test_what_was_sent_is_not_counted_beside_its_reservation(audience, crowd, unique, owner_engine):
    first = build(audience, crowd, f"{unique} first", rank_by={"attribute": "age"}, limit=1)
    event(owner_engine, f"{unique}-19", days_ago=0.001, target_list=first["id"])
    second = build(audience, crowd, f"{unique} second", max_contacts={"count": 2, "days": 7})
    assert removed(second)["not fatigued"] == 0
    third = build(audience, crowd, f"{unique} third", max_contacts={"count": 2, "days": 7})
    assert removed(third)["not fatigued"] == 1


@pytest.mark.parametrize("named", ["list", "campaign", "id in capitals"])
@pytest.mark.parametrize(("kind", "contacts"), [("sent", 1), ("not_sent", 0)])
def test_a_reservation_ends_when_the_tool_says_what_became_of_it(
    audience, crowd, unique, owner_engine, named, kind, contacts
):
    campaign = {"key": unique, "name": "Spring", "channel": "email", "purpose": "marketing"}
    made = audience.post("/v1/campaigns", json=campaign).json()
    name = made["id"].upper() if named == "id in capitals" else unique
    best = {"rank_by": {"attribute": "age"}, "limit": 1}
    first = build(audience, crowd, f"{unique} first", campaign=name, **best)
    naming = {"target_list": first["id"]} if named == "list" else {"campaign": name}
    event(owner_engine, f"{unique}-19", days_ago=0, kind=kind, **naming)
    for count in (1, 2):
        capped = build(audience, crowd, f"{unique} {count}", dry_run=True, max_contacts={"count": count, "days": 7})
        assert removed(capped)["not fatigued"] == (count <= contacts)


def test_what_another_list_of_the_campaign_sent_ends_no_reservation(audience, crowd, unique, owner_engine):
    campaign = {"key": unique, "name": "Spring", "channel": "email", "purpose": "marketing"}
    assert audience.post("/v1/campaigns", json=campaign).status_code == 201
    best = {"campaign": unique, "rank_by": {"attribute": "age"}, "limit": 1}
    first, _ = (build(audience, crowd, f"{unique} {number}", **best) for number in (1, 2))
    event(owner_engine, f"{unique}-19", days_ago=0, campaign=unique, target_list=first["id"])
    capped = build(audience, crowd, f"{unique} capped", max_contacts={"count": 2, "days": 7})
    assert removed(capped)["not fatigued"] == 1


def test_a_service_message_bypasses_caps(audience, load, unique, owner_engine):
    consents = [{"channel": "email", "purpose": "service", "state": "granted", "source": "contract"}]
    load([person(unique, consents=consents)])
    event(owner_engine, unique, days_ago=1)
    segment = segment_of(audience, unique, {"attribute": "city", "is": "eq", "value": "Lyon"})
    campaign = {"key": unique, "name": "Recall", "channel": "email", "purpose": "service"}
    assert audience.post("/v1/campaigns", json=campaign).status_code == 201
    asked = {"name": unique, "segment_id": segment, "campaign": unique, "max_contacts": {"count": 1, "days": 7}}
    built = audience.post("/v1/target-lists", json=asked).json()
    assert (built["count"], built["purpose"], built["channel"]) == (1, "service", "email")


@pytest.mark.parametrize("naming", [None, "list", "campaign key", "campaign id", "campaign id in capitals"])
def test_service_messages_use_up_no_cap(audience, crowd, unique, owner_engine, naming):
    campaign = {"key": unique, "name": "Recall", "channel": "email", "purpose": "service"}
    campaign = audience.post("/v1/campaigns", json=campaign).json()
    best = {"rank_by": {"attribute": "age"}, "limit": 1}
    recall = build(audience, crowd, f"{unique} recall", **best)
    with owner_engine.begin() as connection:  # nobody of the crowd permits service messages
        as_service = sa.text("update audience.target_list set purpose = 'service' where id = :id")
        connection.execute(as_service, {"id": recall["id"]})
    told = {"list": {"target_list": recall["id"]}, "campaign key": {"campaign": unique}}
    told |= {
        "campaign id": {"campaign": campaign["id"]},
        "campaign id in capitals": {"campaign": campaign["id"].upper()},
    }
    if naming is not None:
        event(owner_engine, f"{unique}-19", days_ago=0, **told[naming])
    capped = build(audience, crowd, unique, dry_run=True, max_contacts={"count": 1, "days": 7})
    assert removed(capped)["not fatigued"] == 0


def test_personal_attributes_are_no_features(audience, load, unique):
    load([person(f"{unique}-1", attributes={"age": 30, "surname": "Quatermain", "crowd": unique, "city": "Lyon"})])
    segment = segment_of(audience, unique, {"attribute": "city", "is": "eq", "value": "Lyon"})
    features = members(audience, build(audience, segment, unique))[0]["features"]
    assert features == {"age": 30, "crowd": unique, "city": "Lyon"}
