"""One customer at a time: portraits, contact points, traits."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from urllib.parse import quote

import pytest
import sqlalchemy as sa

from tests.audience.targeting import build, person, segment_of

MODEL = {"computed_at": "2024-02-01T00:00:00Z", "model": "m:1"}


def test_put_makes_the_attributes_exactly_these_and_patch_merges(audience, catalogue, unique):
    path = f"/v1/customers/{unique}"
    assert audience.put(path, json={"attributes": {"age": 30, "city": "Lyon"}}).json()["attributes"]["age"] == 30
    assert audience.put(path, json={"attributes": {"city": "Porto"}}).json()["attributes"] == {"city": "Porto"}
    assert audience.patch(path, json={"attributes": {"age": 31}}).json()["attributes"] == {"city": "Porto", "age": 31}
    assert audience.patch(path, json={"attributes": {"city": None}}).json()["attributes"] == {"age": 31}
    assert audience.patch(path, json={"profiling": False}).json()["profiling"] is False
    found = audience.get(path).json()
    assert (found["attributes"], found["profiling"]) == ({"age": 31}, False)


def test_repeating_a_put_changes_nothing_but_the_time(audience, catalogue, unique):
    path, body = f"/v1/customers/{unique}", {"attributes": {"age": 30}}
    first, second = (audience.put(path, json=body).json() for _ in range(2))
    assert first | {"updated_at": ""} == second | {"updated_at": ""}


def test_an_unknown_customer_is_not_found(audience, unique):
    assert audience.get(f"/v1/customers/{unique}").status_code == 404
    assert audience.patch(f"/v1/customers/{unique}", json={}).status_code == 404
    assert audience.put(f"/v1/customers/{unique}/contact-points/push", json={"handle": "h"}).status_code == 404


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"attributes": {"age": "x"}}, "/attributes/age"),
        ({"attributes": {"unknown_one": 1}}, "/attributes/unknown_one"),
        ({"attributes": {"age": 1}, "extra": 1}, "/extra"),
        ({"identities": {"email": "x"}}, "/identities/email"),
        ({"consents": [{"state": "granted", "source": "s", "channel": "email"}]}, "/consents/0/purpose"),
        ([], ""),
    ],
)
def test_a_change_that_breaks_a_rule_changes_nothing(audience, catalogue, unique, body, pointer):
    answer = audience.put(f"/v1/customers/{unique}", json=body)
    assert answer.status_code == 422
    assert pointer in {error["pointer"] for error in answer.json()["errors"]}
    assert audience.get(f"/v1/customers/{unique}").status_code == 404


@pytest.mark.parametrize("content", [b"", b"{", b'{"attributes": {"city": "\xff"}}'])
def test_an_unreadable_body_is_refused(audience, catalogue, unique, content):
    headers = {"Content-Type": "application/json"}
    answer = audience.put(f"/v1/customers/{unique}", content=content, headers=headers)
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"


def test_an_address_is_no_customer_id(audience, catalogue):
    assert audience.put("/v1/customers/ada@example.com", json={}).status_code == 422


def test_an_id_with_blanks_around_it_makes_nobody_known_at_any_door(audience, feedback, load, unique):
    row = {"customer_id": f"{unique} "}
    for rows in ([row], [{"customer_id": " "}]):
        report = load(rows)
        assert [(one["pointer"], one["rows"]) for one in report["reasons"]] == [("/customer_id", 1)]
    traits = audience.post("/v1/traits", json=[{**row, "traits": {"clv": 1}, **MODEL}]).json()
    assert [one["pointer"] for one in traits["rejected"]] == ["/customer_id"]
    event = {**row, "kind": "order", "occurred_at": "2026-01-01T00:00:00Z", "value": "1"}
    assert [one["pointer"] for one in feedback.post("/v1/events", json=[event]).json()["rejected"]] == ["/customer_id"]
    assert audience.post("/v1/suppressions", json={**row, "reason": "asked"}).status_code == 422
    assert audience.put(f"/v1/customers/{unique}%20", json={}).status_code == 422
    assert audience.get(f"/v1/customers/{unique}%20").status_code == 404


def test_who_was_stored_with_blanks_by_an_older_release_can_be_read_and_can_refuse(audience, unique, owner_engine):
    with owner_engine.begin() as connection:
        for table, more in (("customer", "known_at, updated_at"), ("suppression", "created_at, id, channel, reason")):
            values = ":now, :now" if table == "customer" else ":now, gen_random_uuid(), '*', 'asked'"
            insert = sa.text(f"insert into audience.{table} (customer_id, {more}) values (:customer, {values})")
            connection.execute(insert, {"customer": f"{unique} ", "now": datetime.now(UTC)})
    assert audience.get(f"/v1/customers/{unique}%20").json()["customer_id"] == f"{unique} "
    assert len(audience.get("/v1/suppressions", params={"customer_id": f"{unique} "}).json()["items"]) == 1
    refusal = {"state": "withdrawn", "source": "telephone"}
    assert audience.put(f"/v1/customers/{unique}%20/consents/*", json=refusal).status_code == 200
    assert audience.post("/v1/suppressions", json={"customer_id": f"{unique} ", "reason": "asked"}).status_code == 201


def test_ids_may_hold_anything_but_nul(audience, catalogue, unique):
    strange = f"{unique} é日本😀'\"\\%;--"
    assert audience.put(f"/v1/customers/{quote(strange, safe='')}", json={}).json()["customer_id"] == strange
    assert audience.get("/v1/customers/a%00b").status_code == 422


@pytest.mark.parametrize("form", ["{0}/b", "/{0}//", "{0}/consent/b", "{0}%2Fb\n/.", "{0}/contact-points/"])
def test_a_customer_whose_id_has_slashes_is_read_and_changed_like_any_other(audience, load, unique, form):
    customer = form.format(unique)
    path = f"/v1/customers/{quote(customer, safe='')}"
    load([person(customer, attributes={"age": 30, "crowd": unique})])
    assert audience.get(path).json()["customer_id"] == customer
    assert audience.patch(path, json={"attributes": {"age": 31}}).json()["attributes"]["age"] == 31
    assert audience.put(path, json={"attributes": {"crowd": unique}}).json()["attributes"] == {"crowd": unique}
    point = audience.put(f"{path}/contact-points/push", json={"handle": "device-1"})
    assert point.json()["channel"] == "push"
    refusal = {"state": "withdrawn", "source": "telephone"}
    assert audience.put(f"{path}/consents/push", json=refusal).json()["customer_id"] == customer
    assert {one["channel"] for one in audience.get(f"{path}/consents").json()["items"]} == {"email", "push"}
    segment = segment_of(audience, unique, {"attribute": "crowd", "is": "exists"})
    explained = audience.get(f"/v1/segments/{segment}/explain/{quote(customer, safe='')}").json()
    assert (explained["customer_id"], explained["member"]) == (customer, True)
    built = build(audience, segment, unique)
    member = audience.get(f"/v1/target-lists/{built['id']}/members/{quote(customer, safe='')}").json()
    assert member["customer_id"] == customer


@pytest.mark.parametrize("part", ["consents", "consents/", "contact-points", "contact-points/push/x"])
def test_an_address_with_a_part_forgotten_makes_nobody_known(audience, catalogue, unique, part):
    audience.put(f"/v1/customers/{unique}", json={}).raise_for_status()
    for path in (f"/v1/customers/{unique}/{part}", f"/v1/customers//{part}"):
        for method in ("PUT", "PATCH"):
            assert audience.request(method, path, json={}).status_code == 404, (method, path)
    assert audience.put(f"/v1/customers/{quote(f'{unique}/{part}', safe='')}", json={}).status_code == 200
    assert audience.put("/v1/customers/consents", json={}).json()["customer_id"] == "consents"


def test_a_contact_point_is_what_was_said_last(audience, load, unique):
    load([{"customer_id": unique, "contact_points": [{"channel": "push", "handle": "device-1"}]}])
    path = f"/v1/customers/{unique}/contact-points/push"
    body = {"handle": "device-2", "status": "closed", "verified_at": "2024-01-01T00:00:00Z"}
    assert audience.put(path, json=body).status_code == 200
    point = audience.get(f"/v1/customers/{unique}").json()["contact_points"][0]
    assert (point["handle"], point["status"]) == ("device-2", "closed")
    assert audience.put(path, json={"handle": "ada@example.com"}).status_code == 422


def test_a_status_keeps_the_address_and_an_active_point_needs_one(audience, load, unique):
    address = "ab" * 32
    load([{"customer_id": unique, "contact_points": [{"channel": "email", "address_hash": address}]}])
    path = f"/v1/customers/{unique}/contact-points"
    for status in ("bounced", "active"):
        told = audience.put(f"{path}/email", json={"status": status}).json()
        assert (told["address_hash"], told["status"]) == (address, status)
        for silent in ({}, {"verified_at": "2024-01-01T00:00:00Z"}):  # or a bounce would be undone
            again = audience.put(f"{path}/email", json=silent).json()
            assert again | {"verified_at": None} == told | {"verified_at": None}
    assert audience.put(f"{path}/email", json={"handle": "h"}).json()["address_hash"] is None
    refused = audience.put(f"{path}/push", json={})
    assert [error["pointer"] for error in refused.json()["errors"]] == ["/handle"]
    assert audience.put(f"{path}/push", json={"status": "closed"}).status_code == 200
    assert audience.put(f"{path}/app", json={}).status_code == 200


@pytest.mark.parametrize("call", ["PUT", "PATCH"])
def test_a_single_call_makes_no_contact_point_active_that_leads_nowhere(audience, load, unique, call):
    path = f"/v1/customers/{unique}"
    load([{"customer_id": unique, "contact_points": [{"channel": "email", "handle": "h"}]}])
    points = [{"channel": channel, "status": "active"} for channel in ("email", "push", "app")]
    refused = audience.request(call, path, json={"profiling": False, "contact_points": points})
    assert [error["pointer"] for error in refused.json()["errors"]] == ["/contact_points/1/handle"]
    assert audience.get(path).json()["profiling"] is True
    points[1]["handle"] = "device-1"
    assert audience.request(call, path, json={"contact_points": points}).status_code == 200


def test_nobody_is_reached_by_a_contact_point_that_leads_nowhere(audience, load, unique):
    permitted = [{"channel": "push", "purpose": "marketing", "state": "granted", "source": "crm"}]
    load([{"customer_id": unique, "consents": permitted, "contact_points": [{"channel": "push"}]}])
    question = {"customer_ids": [unique], "channel": "push", "purpose": "marketing"}
    assert audience.post("/v1/send-checks", json=question).json()["checks"][0]["reason"] == "not reachable"


def test_of_two_first_puts_of_a_customer_one_replaces_the_other(audience, catalogue, unique):
    def put(path: str, name: str, value: object) -> None:
        audience.put(path, json={"attributes": {name: value}}).raise_for_status()

    with ThreadPoolExecutor(2) as threads:
        for attempt in range(15):
            path = f"/v1/customers/{unique}-{attempt}"
            first, second = threads.submit(put, path, "age", 30), threads.submit(put, path, "city", "Lyon")
            assert (first.result(), second.result()) == (None, None)
            assert len(audience.get(path).json()["attributes"]) == 1


def test_a_portrait_tells_what_was_said_last_of_each_brand_channel_and_purpose(audience, load, unique):
    email = {"channel": "email", "purpose": "marketing", "source": "crm", "at": "2024-01-01T00:00:00Z"}
    said = [email | {"state": state} for state in ("granted", "withdrawn", "pending")]
    said += [email | {"state": "granted", "at": "2023-01-01T00:00:00Z"}, email | {"state": "granted", "brand": "nord"}]
    load([{"customer_id": unique, "consents": [*said, {"state": "denied", "source": "telephone"}]}])
    found = audience.get(f"/v1/customers/{unique}").json()["consents"]
    assert [(one["brand"], one["channel"], one["purpose"], one["state"]) for one in found] == [
        ("default", None, None, "denied"),
        ("default", "email", "marketing", "withdrawn"),
        ("nord", "email", "marketing", "granted"),
    ]
    whole = audience.get(f"/v1/customers/{unique}/consents").json()["items"]
    assert all(one in whole for one in found)


def test_customers_are_listed_by_id(audience, load, unique):
    load([{"customer_id": f"{unique}-{i}"} for i in range(3)])
    page = audience.get("/v1/customers", params={"limit": 2}).json()
    assert len(page["items"]) == 2
    ids = [one["customer_id"] for one in page["items"]]
    assert ids == sorted(ids)
    foreign = audience.get("/v1/campaigns", params={"cursor": page["next_cursor"]})
    assert foreign.status_code == 422
    assert foreign.json()["errors"][0]["pointer"] == "#query/cursor"


def traits(audience, rows):
    answer = audience.post("/v1/traits", json=rows)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_of_each_trait_the_newest_stays_and_unknown_customers_become_known(audience, unique):
    report = traits(audience, [{"customer_id": unique, "traits": {"churn": 0.5, "tier": "a"}, **MODEL}])
    assert (report["accepted"], report["new_customers"]) == (1, 1)
    older = {"customer_id": unique, "traits": {"churn": 0.1}, **MODEL, "computed_at": "2024-01-01T00:00:00Z"}
    newer = {"customer_id": unique, "traits": {"tier": "b"}, **MODEL, "computed_at": "2024-03-01T00:00:00Z"}
    assert traits(audience, [newer, older])["new_customers"] == 0
    found = audience.get(f"/v1/customers/{unique}").json()["traits"]
    assert {name: trait["value"] for name, trait in found.items()} == {"churn": 0.5, "tier": "b"}
    assert (found["churn"]["model"], found["churn"]["computed_at"]) == ("m:1", "2024-02-01T00:00:00Z")


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"traits": {}}, "/traits"),
        ({"traits": {"churn": 10**400}}, "/traits/churn"),
        ({"traits": {"likes": "shoes", "churn": -(2**53) - 1}}, "/traits/churn"),
        ({"traits": {"a b": 1}}, "/traits/a b"),
        ({"traits": {"a": [1]}}, "/traits/a"),
        ({"traits": {"a": "ada@example.com"}}, "/traits/a"),
        ({"computed_at": "2024-01-01T00:00:00"}, "/computed_at"),
        ({"computed_at": "2199-01-01T00:00:00Z"}, "/computed_at"),
        ({"customer_id": ""}, "/customer_id"),
        ({"model": ""}, "/model"),
        ({"more": 1}, "/more"),
    ],
)
def test_a_bad_row_of_traits_costs_the_others_nothing(audience, unique, change, pointer):
    row = {"customer_id": unique, "traits": {"churn": 0.5}, **MODEL}
    report = traits(audience, [row | change, row])
    assert (report["rows"], report["accepted"], report["refused"]) == (2, 1, 1)
    assert (report["rejected"][0]["index"], report["rejected"][0]["pointer"]) == (0, pointer)


def test_a_run_is_taken_over_as_a_set(audience, load, unique, owner_engine):
    load([{"customer_id": f"{unique}-1"}])
    run = publish(owner_engine, {f"{unique}-1": '{"recency": 3, "segment": "loyal"}', f"{unique}-2": '{"recency": 9}'})
    body = {"source": "rfm", "run": str(run)}
    first = audience.post("/v1/traits:pull", json=body).json()
    assert (first["customers"], first["new_customers"]) == (2, 1)
    again = audience.post("/v1/traits:pull", json=body).json()
    assert again["new_customers"] == 0
    found = audience.get(f"/v1/customers/{unique}-1").json()["traits"]
    assert {name: trait["value"] for name, trait in found.items()} == {"recency": 3, "segment": "loyal"}
    assert (found["recency"]["model"], found["recency"]["computed_at"]) == (f"rfm:{run}", "2024-05-01T00:00:00Z")


def test_who_objects_to_profiling_gets_no_traits_and_the_answer_says_so(audience, load, unique, owner_engine):
    load([{"customer_id": f"{unique}-1", "profiling": False}, {"customer_id": f"{unique}-2"}])
    rows = [{"customer_id": f"{unique}-{number}", "traits": {"churn": 0.5}, **MODEL} for number in (1, 2)]
    report = traits(audience, rows)
    assert (report["accepted"], report["refused"]) == (1, 1)
    assert (report["rejected"][0]["index"], report["rejected"][0]["pointer"]) == (0, "/customer_id")
    run = publish(owner_engine, {f"{unique}-{number}": '{"recency": 3}' for number in (1, 2)})
    pulled = audience.post("/v1/traits:pull", json={"source": "rfm", "run": str(run)}).json()
    assert (pulled["customers"], pulled["objecting"]) == (1, 1)
    assert audience.get(f"/v1/customers/{unique}-1").json()["traits"] == {}
    assert set(audience.get(f"/v1/customers/{unique}-2").json()["traits"]) == {"churn", "recency"}


def publish(engine, scores):
    run = uuid.uuid4()
    with engine.begin() as connection:
        connection.execute(
            sa.text("""
                insert into feedback.model_run (id, model, state, parameters, customers, created_at)
                values (:run, 'rfm', 'published', jsonb_build_object('as_of', cast(:at as text)), :count, now())
            """),
            {"run": run, "count": len(scores), "at": "2024-05-01T00:00:00Z"},
        )
        for customer, found in scores.items():
            connection.execute(
                sa.text(
                    "insert into feedback.score (customer_id, run_id, traits) values (:id, :run, cast(:t as jsonb))"
                ),
                {"id": customer, "run": run, "t": found},
            )
    return run


def test_a_run_that_nobody_published_is_not_found(audience):
    body = {"source": "rfm", "run": str(uuid.uuid4())}
    assert audience.post("/v1/traits:pull", json=body).status_code == 404


def test_the_published_portraits_show_what_is_told_and_derived(audience, load, unique, experiments_engine):
    """And nothing personal: whoever reads them may make features of them."""
    load([{"customer_id": unique, "attributes": {"age": 30, "surname": "Ampère"}}])
    traits(audience, [{"customer_id": unique, "traits": {"churn": 0.5}, **MODEL}])
    load([{"customer_id": unique, "profiling": False}])
    statement = sa.text("select * from published.audience_portraits as p where p.customer_id = :id")
    with experiments_engine.connect() as connection:
        row = connection.execute(statement, {"id": unique}).mappings().one()
    assert (row["attributes"], row["traits"]["churn"]["value"], row["profiling"]) == ({"age": 30}, 0.5, False)
