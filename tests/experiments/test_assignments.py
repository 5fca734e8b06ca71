"""Who has which arm: whole lists, splits made elsewhere, and what is refused on the way."""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import timedelta

import pytest

from services.experiments import bucketing
from services.experiments.actions import assignments
from shared.db import transaction
from tests.experiments.conftest import ARMS, T0, ndjson

NDJSON = {"Content-Type": "application/x-ndjson"}
THREE = [
    {"key": "nobody", "weight": 0.2, "control": True},
    {"key": "mail", "weight": 0.3},
    {"key": "push", "weight": 0.5},
]


def members(unique: str, count: int) -> list:
    return [(f"{unique}-{n:05d}", "AB"[n % 3 == 0], n % 10 == 9, {"age": n}) for n in range(count)]


def stored(experiments, key: str) -> list[dict]:
    return [json.loads(line) for line in experiments.get(f"/v1/experiments/{key}/assignments").text.splitlines()]


@pytest.fixture
def listed(audience, experiment, target_list, unique):
    """An experiment on a list, not started yet."""

    def create(count: int, *, name: str = "list", split: str = "hash", arms=ARMS):
        list_id = target_list(members(unique, count), name)
        return list_id, experiment(name, start=False, arms=arms, target_list_id=str(list_id), split=split)

    return create


def assign(engine, key: str, list_id, t0=T0, progress=lambda done: None):
    task = assignments.ListPlan(list_id, "d" * 64, 1000, t0)
    return assignments.assign_list(lambda: transaction(engine), key, task, progress)


def started(experiments, found: dict) -> str:
    assert experiments.post(f"/v1/experiments/{found['key']}/start").status_code == 200
    return found["key"]


def test_a_hash_split_is_the_published_hash_and_holdouts_have_no_arm(experiments, experiments_engine, listed, unique):
    list_id, found = listed(1000)
    key = started(experiments, found)
    report = assign(experiments_engine, key, list_id)
    rows = stored(experiments, key)
    of = bucketing.ranges([0.5, 0.5])
    expected = {
        customer: ["nobody", "mail"][bucketing.arm_of(bucketing.bucket(found["seed"], customer), of)]
        for customer, _, held_out, _ in members(unique, 1000)
        if not held_out
    }
    assert {row["customer_id"]: row["arm"] for row in rows} == expected
    assert report.arms == Counter(expected.values())
    assert (report.assigned, report.new) == (900, 900)
    assert {row["probability"] for row in rows} == {0.5}


def test_an_exact_split_meets_the_counts_in_every_stratum(experiments, experiments_engine, listed):
    list_id, found = listed(1000, split="exact", arms=THREE)
    key = started(experiments, found)
    report = assign(experiments_engine, key, list_id)
    assert report.arms == {"nobody": 180, "mail": 270, "push": 450}
    counts = Counter((row["stratum"], row["arm"]) for row in stored(experiments, key))
    for stratum in "AB":
        size = sum(count for (name, _), count in counts.items() if name == stratum)
        for arm in THREE:
            assert abs(counts[stratum, arm["key"]] - size * arm["weight"]) < 1


def test_assigning_again_changes_nothing_and_another_time_zero_is_refused(experiments, experiments_engine, listed):
    list_id, found = listed(200)
    key = started(experiments, found)
    first = assign(experiments_engine, key, list_id)
    before = stored(experiments, key)
    again = assign(experiments_engine, key, list_id)
    assert (again.new, again.already, again.arms) == (0, first.assigned, first.arms)
    with pytest.raises(assignments.AlreadyAssigned):
        assign(experiments_engine, key, list_id, T0 + timedelta(days=1))
    assert stored(experiments, key) == before


def test_a_run_that_dies_half_way_leaves_nobody_assigned(experiments, experiments_engine, listed, monkeypatch):
    list_id, found = listed(500)
    key = started(experiments, found)

    def die(done: float) -> None:
        raise ConnectionError("the worker was killed")

    with pytest.raises(ConnectionError):
        assign(experiments_engine, key, list_id, progress=die)
    assert stored(experiments, key) == []
    assert assign(experiments_engine, key, list_id).new == 450


def test_features_are_frozen_with_the_assignment(experiments, experiments_engine, owner_engine, listed, unique):
    list_id, found = listed(20)
    key = started(experiments, found)
    assign(experiments_engine, key, list_id)
    with owner_engine.connect() as connection:
        rows = connection.exec_driver_sql(
            "select customer_id, features from published.experiments_assignments where experiment_key = %s", (key,)
        ).all()
    expected = {customer: features for customer, _, held_out, features in members(unique, 20) if not held_out}
    assert dict(rows) == expected


def test_external_rows_are_refused_one_by_one(experiments, experiment, unique):
    key = experiment()["key"]
    good = {"customer_id": f"{unique}-1", "arm": "mail", "assigned_at": T0}
    rows = [
        good,
        {**good, "customer_id": f"{unique}-2", "arm": "letter"},
        {**good, "customer_id": f"{unique}-3", "assigned_at": "2026-03-02T09:00:00"},
        {**good, "customer_id": ""},
        {**good, "arm": "nobody"},
        good,
        {**good, "customer_id": "😀" * 200},
        {**good, "customer_id": "x" * 201},
        {"customer_id": f"{unique}-4"},
        {**good, "userId": "1"},
        {**good, "customer_id": "bert@example.org"},
        {**good, "customer_id": "+436601234567"},
    ]
    twice = ndjson([good]).replace(b'"customer_id"', b'"customer_id": "somebody-else", "customer_id"')
    body = (
        ndjson(rows)
        + b"not json\n"
        + b'{"customer_id": NaN}\n'
        + b"\xff\xfe\n"
        + b'{"customer_id": "a\\u0000", "arm": "mail", "assigned_at": "2026-03-02T09:00:00Z"}\n'
        + twice
    )
    answer = experiments.post(f"/v1/experiments/{key}/assignments?source=external", content=body, headers=NDJSON)
    report = answer.json()
    assert answer.status_code == 201
    assert (report["new"], report["already"], report["rejected"]) == (2, 1, 14)
    assert [(row["line"], row["pointer"]) for row in report["rejects"]] == [
        (2, "/arm"), (3, "/assigned_at"), (4, "/customer_id"), (5, "/arm"), (8, "/customer_id"), (9, "/arm"),
        (10, "/userId"), (11, "/customer_id"), (12, "/customer_id"), (13, ""), (14, ""), (15, ""),
        (16, "/customer_id"), (17, ""),
    ]  # fmt: skip
    assert report["rejects"][7]["detail"] == "must not hold an e-mail address or telephone number"
    assert report["rejects"][-1]["detail"] == "The row names a field twice (customer_id)."


def test_who_needs_an_experiment_that_is_being_assigned_waits_for_it(
    experiments, experiment, split, owner_engine, unique
):
    loaded, stopped = experiment("loaded"), experiment("stopped")
    with ThreadPoolExecutor(2) as pool:
        with owner_engine.begin() as connection:
            connection.exec_driver_sql("set local idle_in_transaction_session_timeout = '1min'")
            connection.exec_driver_sql(
                "select from experiments.experiment where key like %s for update", (f"%{unique}",)
            )
            load = pool.submit(split, loaded["key"], {f"{unique}-a": "mail"})
            stop = pool.submit(experiments.post, f"/v1/experiments/{stopped['key']}/stop")
            wait([load, stop], timeout=11)  # a second longer than any other statement may take
            assert not load.done()
            assert not stop.done()
        assert load.result()["new"] == 1
        assert stop.result().json()["state"] == "stopped"


def test_the_first_external_load_is_the_frozen_population(experiments, experiment, split, unique):
    key = experiment()["key"]
    first = split(key, {f"{unique}-1": "mail", f"{unique}-2": "nobody"})
    assert (first["assigned"], first["arms"]) == (2, {"nobody": 1, "mail": 1})
    second = split(key, {f"{unique}-1": "mail", f"{unique}-2": "mail", f"{unique}-3": "mail"})
    assert (second["assigned"], second["new"], second["already"], second["rejected"]) == (2, 0, 1, 2)


def test_external_rows_outside_an_existing_list_are_refused(experiments, listed, split, unique):
    _, found = listed(20)
    key = started(experiments, found)
    report = split(key, {f"{unique}-00001": "mail", f"{unique}-00009": "mail", "stranger": "mail"})
    assert (report["new"], report["rejected"]) == (1, 2)


def test_csv_is_read_like_ndjson(experiments, experiment, unique):
    key = experiment()["key"]
    body = f'customer_id,arm,assigned_at\n{unique}-1,mail,2026-03-02T09:00:00Z\n"{unique},2",nobody,2026-03-02\n'
    answer = experiments.post(
        f"/v1/experiments/{key}/assignments?source=external", content=body, headers={"Content-Type": "text/csv"}
    )
    assert (answer.json()["new"], answer.json()["rejects"][0]["line"]) == (1, 3)
    answer = experiments.post(
        f"/v1/experiments/{key}/assignments?source=external",
        content=body.replace(",", ";"),
        headers={"Content-Type": "text/csv"},
    )
    assert answer.status_code == 422
    assert "separated by semicolons" in answer.json()["detail"]


def test_rows_of_csv_that_are_not_utf8_are_refused_and_never_made_alike(experiments, experiment, unique):
    key = experiment()["key"]
    rows = "".join(f"{unique}-{name},mail,2026-03-02T09:00:00Z\n" for name in ("Müller", "Möller", "Weber"))
    answer = experiments.post(
        f"/v1/experiments/{key}/assignments?source=external",
        content=f"customer_id,arm,assigned_at\n{rows}".encode("latin-1"),
        headers={"Content-Type": "text/csv"},
    )
    assert (answer.json()["new"], answer.json()["rejected"]) == (1, 2)
    assert [(each["line"], each["pointer"]) for each in answer.json()["rejects"]] == [
        (2, "/customer_id"),
        (3, "/customer_id"),
    ]
    assert "UTF-8" in answer.json()["rejects"][0]["detail"]


def test_an_upload_without_a_row_is_refused_and_settles_nothing(experiments, experiment):
    key = experiment()["key"]
    for content, headers in ((b"\n", NDJSON), (b"customer_id,arm,assigned_at\n", {"Content-Type": "text/csv"})):
        answer = experiments.post(
            f"/v1/experiments/{key}/assignments?source=external", content=content, headers=headers
        )
        assert (answer.status_code, answer.json()["detail"]) == (422, "The body holds no row.")
    assert experiments.get(f"/v1/experiments/{key}").json()["population"] is None


@pytest.mark.parametrize("kind", ["application/json", "text/plain", ""])
def test_another_media_type_is_refused(experiments, experiment, kind):
    key = experiment()["key"]
    answer = experiments.post(
        f"/v1/experiments/{key}/assignments?source=external", content=b"{}", headers={"Content-Type": kind}
    )
    assert answer.status_code == 415


def test_features_of_an_external_customer_know_nothing_from_after_t0(
    experiments, experiment, split, owner_engine, unique
):
    key = experiment()["key"]
    traits = {
        "rfm": {"value": 5, "computed_at": (T0 - timedelta(days=1)).isoformat(), "model": "rfm"},
        "clv": {"value": 99, "computed_at": (T0 + timedelta(days=1)).isoformat(), "model": "clv"},
    }
    with owner_engine.begin() as connection:
        connection.exec_driver_sql(
            "insert into audience.customer (customer_id, attributes, traits, profiling, known_at, updated_at) "
            'select c.id, \'{"city": "Lyon"}\', %s, c.profiling, now(), now() '
            "from (values (%s, true), (%s, false)) as c (id, profiling)",
            (json.dumps(traits), f"{unique}-1", f"{unique}-2"),
        )
    split(key, {f"{unique}-1": "mail", f"{unique}-2": "mail", f"{unique}-3": "mail"})
    with owner_engine.connect() as connection:
        rows = connection.exec_driver_sql(
            "select customer_id, features from published.experiments_assignments where experiment_key = %s", (key,)
        ).all()
    assert dict(rows) == {f"{unique}-1": {"city": "Lyon", "rfm": 5}, f"{unique}-2": {}, f"{unique}-3": {}}


def test_features_of_an_external_customer_are_not_personal(
    audience, experiments, experiment, split, owner_engine, unique
):
    key, name = experiment()["key"], f"surname_{unique}"
    assert audience.put(f"/v1/attributes/{name}", json={"type": "text", "personal": True}).status_code == 200
    with owner_engine.begin() as connection:
        connection.exec_driver_sql(
            "insert into audience.customer (customer_id, attributes, known_at, updated_at) "
            "values (%s, %s, now(), now())",
            (unique, json.dumps({"city": "Lyon", name: "Ampère"})),
        )
    split(key, {unique: "mail"})
    with owner_engine.connect() as connection:
        features = connection.exec_driver_sql(
            "select features from published.experiments_assignments where customer_id = %s", (unique,)
        ).scalar_one()
    assert features == {"city": "Lyon"}
