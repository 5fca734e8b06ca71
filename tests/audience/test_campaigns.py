"""Campaigns: what lists, experiments and events refer to."""

import pytest
import sqlalchemy as sa

SPRING = {"name": "Spring sale", "channel": "email", "purpose": "marketing"}


def test_a_campaign_is_created_found_by_key_and_id_and_listed(audience, unique):
    body = {**SPRING, "key": unique, "budget": "1500.50", "currency": "EUR", "send_at": "2026-04-01T09:00:00+02:00"}
    made = audience.post("/v1/campaigns", json=body)
    assert made.status_code == 201
    campaign = made.json()
    assert (campaign["budget"], campaign["send_at"], campaign["brand"]) == (
        "1500.50",
        "2026-04-01T07:00:00Z",
        "default",
    )
    found = audience.get(f"/v1/campaigns/{unique}").json()
    assert found["id"] == campaign["id"]
    for reference in (campaign["id"], campaign["id"].upper()):
        assert audience.get(f"/v1/campaigns/{reference}").json() == found
    keys = [one["key"] for one in audience.get("/v1/campaigns", params={"limit": 1000}).json()["items"]]
    assert unique in keys
    assert keys == sorted(keys)


def test_an_id_means_what_has_it_also_where_an_older_release_took_it_as_a_key(audience, unique, owner_engine):
    made = audience.post("/v1/campaigns", json={**SPRING, "key": unique}).json()
    other = audience.post("/v1/campaigns", json={**SPRING, "key": f"{unique}-2"}).json()
    with owner_engine.begin() as connection:
        change = sa.text("update audience.campaign set key = :key where id = :id")
        connection.execute(change, {"key": made["id"], "id": other["id"]})
    assert audience.get(f"/v1/campaigns/{made['id']}").json() == made
    assert audience.get(f"/v1/campaigns/{other['id']}").json() == other | {"key": made["id"]}


def test_a_key_is_taken_once(audience, unique):
    assert audience.post("/v1/campaigns", json={**SPRING, "key": unique}).status_code == 201
    assert audience.post("/v1/campaigns", json={**SPRING, "key": unique}).status_code == 409


def test_repeated_with_its_idempotency_key_it_is_the_same_campaign(audience, unique):
    headers = {"Idempotency-Key": unique}
    answers = [audience.post("/v1/campaigns", json={**SPRING, "key": unique}, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"key": "with space"}, "/key"),
        ({"key": "'; drop table"}, "/key"),
        ({"key": "01958f3e-8f6a-7cc1-b1a4-6a2f6f3c9f10"}, "/key"),
        ({"name": ""}, "/name"),
        ({"name": "for ada@example.com"}, "/name"),
        ({"owner": "ada@example.com"}, "/owner"),
        ({"purpose": "fun"}, "/purpose"),
        ({"budget": "-1", "currency": "EUR"}, "/budget"),
        ({"budget": "1_000", "currency": "EUR"}, "/budget"),
        ({"budget": "NaN", "currency": "EUR"}, "/budget"),
        ({"budget": "1"}, "/currency"),
        ({"channel": "pigeon"}, "/channel"),
        ({"currency": "euro", "budget": "1"}, "/currency"),
        ({"currency": "ZZZ", "budget": "1"}, "/currency"),
        ({"send_at": 1700000000}, "/send_at"),
        ({"send_at": "2026-04-01T09:00:00"}, "/send_at"),
        ({"send_at": "9999-01-01T00:00:00Z"}, "/send_at"),
        ({"colour": "blue"}, "/colour"),
    ],
)
def test_a_campaign_that_makes_no_sense_is_refused_at_its_field(audience, unique, change, pointer):
    answer = audience.post("/v1/campaigns", json={**SPRING, "key": unique} | change)
    assert answer.status_code == 422
    assert pointer in {error["pointer"] for error in answer.json()["errors"]}
    assert audience.get(f"/v1/campaigns/{unique}").status_code == 404
