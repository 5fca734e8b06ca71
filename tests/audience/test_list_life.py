"""The life of a target list: built once, refused where it makes no sense, read, compared, released, expired."""

import csv
import io
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import httpx
import pytest
import sqlalchemy as sa

from services.audience.actions import lists as actions
from shared.contracts.targeting import NewTargetList
from shared.db import transaction
from tests.audience.targeting import build, members, reasons, wanted


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


def test_a_list_of_which_nobody_would_be_contacted_is_refused_and_its_name_stays_free(audience, crowd, unique):
    answer = audience.post("/v1/target-lists", json=wanted(crowd, unique, holdout_share=0.98))
    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"pointer": "/holdout_share", "detail": "would hold out all 20 members"}]
    assert build(audience, crowd, unique, holdout_share=0.97)["count"] == 1


def test_a_list_of_nobody_is_refused_and_its_name_stays_free(audience, crowd, load, unique):
    nobody = {"channel": "fax", "purpose": "marketing", "name": unique, "segment_id": crowd}
    answer = audience.post("/v1/target-lists", json=nobody)
    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"pointer": "/segment_id", "detail": "0 left at the step: reachable"}]
    assert answer.json()["detail"] == "Nobody is left for this list: 20 matched, 0 reachable."
    assert build(audience, crowd, unique)["count"] == 20


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"segment_id": "no-such-segment"}, "/segment_id"),
        ({"segment_id": ""}, "/segment_id"),
        ({"campaign": "no-such-campaign"}, "/campaign"),
        ({"channel": None}, "/channel"),
        ({"purpose": None}, "/purpose"),
        ({"channel": "pigeon"}, "/channel"),
        ({"purpose": "marketin"}, "/purpose"),
        ({"channel": "e mail"}, "/channel"),
        ({"name": ""}, "/name"),
        ({"name": "a\x00b"}, "/name"),
        ({"name": "for ada@example.com"}, "/name"),
        ({"limit": 0}, "/limit"),
        ({"limit": True}, "/limit"),
        ({"holdout_share": "0.34"}, "/holdout_share"),
        ({"dry_run": "no"}, "/dry_run"),
        ({"limit": 2**70}, "/limit"),
        ({"holdout_share": 1}, "/holdout_share"),
        ({"holdout_share": -0.1}, "/holdout_share"),
        ({"max_contacts": {"count": 0, "days": 1}}, "/max_contacts/count"),
        ({"rank_by": {}}, "/rank_by"),
        ({"rank_by": {"attribute": "age", "trait": "age"}}, "/rank_by"),
        ({"rank_by": {"attribute": "city"}}, "/rank_by/attribute"),
        ({"rank_by": {"attribute": "nothing"}}, "/rank_by/attribute"),
        ({"rank_by": {"trait": "nobody_has_it"}, "limit": 10}, "/rank_by/trait"),
        ({"rank_by": {"trait": "computed_today"}, "as_of": "2024-01-01T00:00:00Z"}, "/rank_by/trait"),
        ({"strata": [{"trait": "nobody_has_it"}]}, "/strata/0/trait"),
        ({"strata": [{"attribute": "nothing"}]}, "/strata/0/attribute"),
        ({"strata": [{"attribute": "city"}, {"attribute": "surname"}]}, "/strata/1/attribute"),
        ({"as_of": "2999-01-01T00:00:00Z"}, "/as_of"),
        ({"as_of": "2100-01-01T00:00:00Z"}, "/as_of"),
        ({"as_of": "2024-01-01T00:00:00"}, "/as_of"),
        ({"valid_hours": 0}, "/valid_hours"),
        ({"speed": 1}, "/speed"),
    ],
)
def test_a_list_that_makes_no_sense_is_refused_at_its_field(audience, crowd, unique, change, pointer):
    trait = {"traits": {"computed_today": 1}, "computed_at": datetime.now(UTC).isoformat(), "model": "m"}
    assert audience.post("/v1/traits", json=[{"customer_id": unique, **trait}]).json()["accepted"] == 1
    answer = audience.post("/v1/target-lists", json=wanted(crowd, unique) | change)
    assert answer.status_code == 422
    assert pointer in {error["pointer"] for error in answer.json()["errors"]}
    assert audience.get("/v1/target-lists", params={"name": unique}).json()["items"] == []


def test_a_build_of_the_same_name_is_waited_for_however_long_it_takes(
    audience, crowd, unique, audience_engine, settings
):
    wish = NewTargetList.model_validate(wanted(crowd, unique))
    impatient = sa.text("set local lock_timeout = '50ms'")

    def build_too():
        with transaction(audience_engine) as db:
            db.execute(impatient)
            actions.build(db, wish, settings)

    with ThreadPoolExecutor(1) as other:
        with transaction(audience_engine) as db:
            actions.build(db, wish, settings)
            second = other.submit(build_too)
            with pytest.raises(TimeoutError):
                second.result(timeout=0.5)
        with pytest.raises(actions.NameTaken):
            second.result()


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
    assert {row["probability"] for row in rows} == {str(everyone[0]["probability"])} == {"0.25"}
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


def test_the_published_view_shows_the_members(audience, crowd, unique, experiments_engine):
    built = build(audience, crowd, unique, holdout_share=0.25)
    statement = sa.text("select * from published.audience_list_members as m where m.list_id = :id order by m.rank")
    with experiments_engine.connect() as connection:
        rows = [dict(row) for row in connection.execute(statement, {"id": built["id"]}).mappings()]
    told = [{name: value for name, value in one.items() if name != "probability"} for one in members(audience, built)]
    assert [{name: row[name] for name in row if name != "list_id"} for row in rows] == told


def test_an_unknown_list_is_not_found(audience):
    unknown = "01958f3e-8f6a-7cc1-b1a4-6a2f6f3c9f10"
    for path in (unknown, f"{unknown}/members", f"{unknown}/members/c", f"{unknown}/diff?against={unknown}"):
        assert audience.get(f"/v1/target-lists/{path}").status_code == 404
    assert audience.post(f"/v1/target-lists/{unknown}/release").status_code == 404
