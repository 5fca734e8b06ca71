"""One customer at a time: decided now, stored before the answer, the same for ever."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from services.experiments import bucketing
from tests.experiments.conftest import T0


@pytest.fixture
def online(experiment):
    return experiment("online", method="confidence_sequence", planned_size=1000)


def assigned(experiments, customer: str, *keys: str, **given) -> list[dict]:
    answer = experiments.post("/v1/assign", json={"customer_id": customer, "experiments": list(keys), **given})
    assert answer.status_code == 200, answer.text
    return answer.json()["assignments"]


@pytest.mark.parametrize("customer", ["c-1", "é", "日本", "user😀1", "'; drop table x; --", "x" * 200, "../../etc"])
def test_the_arm_is_the_published_hash_of_any_id(experiments, online, customer):
    of = bucketing.ranges([0.5, 0.5])
    expected = ["nobody", "mail"][bucketing.arm_of(bucketing.bucket(online["seed"], customer), of)]
    (first,) = assigned(experiments, customer, online["key"])
    (again,) = assigned(experiments, customer, online["key"])
    assert (first["arm"], first["probability"], first["reason"]) == (expected, 0.5, "assigned")
    assert again == {**first, "reason": "stored"}
    assert first["payload"] == ({"template": "jackets"} if expected == "mail" else None)


def test_many_calls_at_once_store_one_arm(experiments, online, unique):
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: assigned(experiments, unique, online["key"])[0], range(16)))
    assert len({each["arm"] for each in found}) == 1
    assert [each["reason"] for each in found].count("assigned") == 1
    assert len(experiments.get(f"/v1/experiments/{online['key']}/assignments").text.splitlines()) == 1


def test_without_names_all_running_experiments_that_take_customers_answer(experiments, online, experiment, unique):
    other = experiment("other", method="confidence_sequence", planned_size=10)
    listed = experiment("blast")
    answer = experiments.post("/v1/assign", json={"customer_id": unique}).json()
    keys = [each["experiment"] for each in answer["assignments"]]
    assert online["key"] in keys
    assert other["key"] in keys
    assert listed["key"] not in keys


def test_an_experiment_that_is_being_loaded_keeps_nobody_waiting_who_wants_another(
    experiments, online, experiment, owner_engine, unique
):
    loaded = experiment("loaded", method="confidence_sequence", planned_size=10)
    with owner_engine.begin() as connection:
        connection.exec_driver_sql("set local idle_in_transaction_session_timeout = '1min'")
        connection.exec_driver_sql("select from experiments.experiment where key = %s for update", (loaded["key"],))
        found = assigned(experiments, unique, online["key"], loaded["key"])
    assert {each["experiment"]: each["reason"] for each in found} == {
        online["key"]: "assigned",
        loaded["key"]: "not_assigned",
    }
    assert assigned(experiments, unique, loaded["key"])[0]["reason"] == "assigned"


def test_a_paused_experiment_keeps_its_customers_and_takes_no_new_one(experiments, online, unique):
    (before,) = assigned(experiments, unique, online["key"])
    experiments.post(f"/v1/experiments/{online['key']}/pause")
    (kept,) = assigned(experiments, unique, online["key"])
    (refused,) = assigned(experiments, f"{unique}-2", online["key"])
    assert (kept["arm"], kept["reason"]) == (before["arm"], "stored")
    assert (refused["arm"], refused["probability"], refused["reason"]) == (None, None, "not_running")


def test_a_list_bound_experiment_answers_for_members_only(audience, experiments, experiment, target_list, unique):
    list_id = target_list([(f"{unique}-in", "", False, {}), (f"{unique}-out", "", True, {})])
    key = experiment("listed", target_list_id=str(list_id))["key"]
    assert assigned(experiments, f"{unique}-in", key)[0]["reason"] == "not_assigned"
    run = experiments.post(f"/v1/experiments/{key}/assignments", json={"t0": T0.isoformat()})
    assert (run.status_code, run.json()["assigned"]) == (201, 1)
    (member,) = assigned(experiments, f"{unique}-in", key)
    assert (member["reason"], member["probability"]) == ("stored", 0.5)
    assert assigned(experiments, f"{unique}-out", key)[0]["reason"] == "held_out"
    assert assigned(experiments, f"{unique}-else", key)[0]["reason"] == "not_a_member"


def test_an_online_population_takes_no_split_from_elsewhere(experiments, online, unique):
    assigned(experiments, unique, online["key"])
    row = json.dumps({"customer_id": "x", "arm": "mail", "assigned_at": T0.isoformat()})
    answer = experiments.post(
        f"/v1/experiments/{online['key']}/assignments?source=external",
        content=row,
        headers={"Content-Type": "application/x-ndjson"},
    )
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:attune:problem:already-assigned")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/customer_id"),
        ({"customer_id": ""}, "/customer_id"),
        ({"customer_id": 7}, "/customer_id"),
        ({"customer_id": "a" * 201}, "/customer_id"),
        ({"customer_id": "a\x00"}, "/customer_id"),
        ({"customer_id": "anna@example.org"}, "/customer_id"),
        ({"customer_id": "+43 660 1234567"}, "/customer_id"),
        ({"customer_id": "a", "experiments": ["none-such"]}, "/experiments/0"),
        ({"customer_id": "a", "userId": "a"}, "/userId"),
        ({"customer_id": "a", "attributes": {"x": [1]}}, "/attributes/x"),
        ({"customer_id": "a", "attributes": {"x": "y" * 1001}}, "/attributes/x"),
        ({"customer_id": "a", "attributes": {"x": 10**400}}, "/attributes/x"),
        ({"customer_id": "a", "attributes": {"x": -1.1e20}}, "/attributes/x"),
    ],
)
def test_a_bad_request_is_refused_at_the_field(experiments, body, pointer):
    answer = experiments.post("/v1/assign", json=body)
    assert answer.status_code == 422
    assert any(error["pointer"].startswith(pointer) for error in answer.json()["errors"])


@pytest.mark.parametrize(
    "body", [b'{"customer_id": NaN}', b'{"customer_id": "\\ud83d"}', b"\xff", b"", b"[1", b'{"customer_id": 1e999}']
)
def test_what_is_no_sound_json_is_refused(experiments, body):
    answer = experiments.post("/v1/assign", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"


def test_attributes_of_the_moment_are_frozen_with_the_portrait(experiments, online, owner_engine, unique):
    with owner_engine.begin() as connection:
        connection.exec_driver_sql(
            "insert into audience.customer (customer_id, attributes, known_at, updated_at) "
            "values (%s, %s, now(), now())",
            (unique, '{"city": "Lyon", "age": 30}'),
        )
    assigned(experiments, unique, online["key"], attributes={"age": 31, "device": "phone"})
    with owner_engine.connect() as connection:
        features = connection.exec_driver_sql(
            "select features from published.experiments_assignments where customer_id = %s", (unique,)
        ).scalar_one()
    assert features == {"city": "Lyon", "age": 31, "device": "phone"}


def test_addresses_and_telephone_numbers_never_become_features(experiments, online, owner_engine, unique):
    told = {"email": "anna@example.org", "note": "to <anna@example.org>", "tel": "+43 660 1234567", "device": "phone"}
    assigned(experiments, unique, online["key"], attributes=told | {"00436601234567": 1})
    with owner_engine.connect() as connection:
        features = connection.exec_driver_sql(
            "select features from experiments.assignment where customer_id = %s", (unique,)
        ).scalar_one()
    assert features == {"device": "phone"}


def test_personal_attributes_never_become_features(audience, experiments, online, owner_engine, unique):
    name = f"surname_{unique}"
    assert audience.put(f"/v1/attributes/{name}", json={"type": "text", "personal": True}).status_code == 200
    with owner_engine.begin() as connection:
        connection.exec_driver_sql(
            "insert into audience.customer (customer_id, attributes, known_at, updated_at) "
            "values (%s, %s, now(), now())",
            (unique, json.dumps({"city": "Lyon", name: "Ampère"})),
        )
    assigned(experiments, unique, online["key"], attributes={"device": "phone"})
    assigned(experiments, f"{unique}-2", online["key"], attributes={"device": "phone", name: "Ampère"})
    with owner_engine.connect() as connection:
        rows = connection.exec_driver_sql(
            "select customer_id, features from published.experiments_assignments where experiment_key = %s",
            (online["key"],),
        ).all()
    assert dict(rows) == {unique: {"city": "Lyon", "device": "phone"}, f"{unique}-2": {"device": "phone"}}
