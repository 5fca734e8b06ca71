"""What the worker does by itself: long lists, arrivals, daily looks, alarms; and what a crash in the middle leaves."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from services.experiments import jobs, measures
from services.experiments.actions import looks, outcomes, watching
from services.experiments.queries import outcomes as queries
from shared.db import transaction
from shared.jobs import JobContext
from shared.telemetry import ARRIVAL_PENDING
from tests.experiments.conftest import T0


@pytest.fixture
def begin(experiments_engine):
    return lambda: transaction(experiments_engine)


def test_a_long_list_is_assigned_by_a_job(audience, experiments, experiment, target_list, work, unique):
    members = [(f"{unique}-{n:05d}", "", False, {}) for n in range(10_001)]
    key = experiment(target_list_id=str(target_list(members)), split="exact")["key"]
    answer = experiments.post(f"/v1/experiments/{key}/assignments", json={"t0": T0.isoformat()})
    assert answer.status_code == 202
    work("experiments")
    job = experiments.get(answer.headers["location"]).json()
    assert (job["state"], job["progress"]) == ("succeeded", 1)
    assert job["result"]["arms"] == {"nobody": 5001, "mail": 5000}
    again = experiments.post(f"/v1/experiments/{key}/assignments", json={"t0": T0.isoformat()})
    assert (again.status_code, again.json()["already"]) == (201, 10_001)


def test_a_tick_that_dies_moves_nothing_and_the_next_one_counts_it_all(
    experiment, metric, split, respond, outcomes_of, begin, monkeypatch, unique
):
    key = metric("count", kind="count")
    found = experiment(metrics={"primary": key})
    split(found["key"], {f"{unique}-a": "mail"})
    respond((f"{unique}-a", 1, {}))

    def die(*_: object) -> None:
        raise ConnectionError("the worker was killed")

    with monkeypatch.context() as killed:
        killed.setattr(queries, "move", die)
        with pytest.raises(ConnectionError):
            outcomes.tick(begin)
    assert outcomes_of(found["id"]) == {}
    assert outcomes.tick(begin) >= 1
    assert outcomes_of(found["id"]) == {(f"{unique}-a", key): 1}
    assert outcomes.tick(begin) == 0


def test_how_far_counting_is_behind_is_measured_without_its_work(respond, begin, experiments_engine, settings, unique):
    def behind():
        jobs.measure_arrivals(JobContext(experiments_engine, settings, {}))
        return ARRIVAL_PENDING.labels("experiments", "outcomes")._value.get()

    outcomes.tick(begin)
    assert behind() == 0
    respond((f"{unique}-a", 1, {}))
    assert behind() == 1
    assert jobs.measure_arrivals in jobs.jobs.measures


def test_a_database_from_another_cluster_is_counted_from_the_beginning(
    experiment, metric, split, respond, outcomes_of, begin, owner_engine, unique
):
    key = metric("count", kind="count")
    found = experiment(metrics={"primary": key})
    split(found["key"], {f"{unique}-a": "mail", f"{unique}-b": "mail"})
    respond((f"{unique}-a", 1, {}))
    outcomes.tick(begin)
    with owner_engine.begin() as connection:
        connection.exec_driver_sql("update experiments.position set cluster = 7, xid = '18446744073709551000'")
        connection.exec_driver_sql("update experiments.outcome set value = 99")
    outcomes.tick(begin)
    assert outcomes_of(found["id"]) == {(f"{unique}-a", key): 1}
    with owner_engine.connect() as connection:
        customers = connection.exec_driver_sql(
            "select sum(customers) from experiments.cohort where experiment_id = %s", (found["id"],)
        ).scalar_one()
    assert customers == 2


def test_nothing_is_counted_twice_by_two_workers(experiment, metric, split, outcomes_of, begin, unique):
    found = experiment(metrics={"primary": metric("count", kind="count")})
    split(found["key"], {f"{unique}-a": "mail"})
    with begin() as db:
        assert queries.position(db, datetime.now(UTC)) is not None
        assert outcomes.tick(begin) is None
    assert outcomes.tick(begin) is not None


def test_events_that_do_not_fit_the_assignment_are_reported(experiments, experiment, split, respond, work, unique):
    found = experiment()
    key, (a, b, c) = found["key"], (f"{unique}-{name}" for name in "abc")
    split(key, {a: "mail", b: "nobody", c: "mail"})
    respond(
        (a, -1, {"experiment": key}),
        (a, 1, {"experiment": key, "arm": "nobody"}),
        (b, 1, {"kind": "sent", "experiment": key, "arm": "nobody", "campaign": "x"}),
        (c, 1, {"experiment": key, "arm": "mail"}),
    )
    work("experiments")
    health = experiments.get(f"/v1/experiments/{key}/results").json()["health"]
    figures = {check["check"]: (check["figure"], check["status"]) for check in health}
    assert figures["responses_before_start"] == (1, "failed")
    assert figures["arms_contradicted"] == (1, "failed")
    assert figures["contacts_of_uncontacted_arms"] == (1, "failed")


def test_the_daily_look_waits_a_day_and_is_taken_once(
    experiments, experiment, split, respond, work, begin, owner_engine, unique
):
    found = experiment()
    split(found["key"], {f"{unique}-a": "mail", f"{unique}-b": "nobody"}, T0)
    respond((f"{unique}-a", 1, {}))
    work("experiments")
    assert found["key"] not in looks.due(begin)
    with owner_engine.begin() as connection:
        connection.exec_driver_sql(
            "update experiments.experiment set started_at = %s where id = %s",
            (datetime.now(UTC) - timedelta(days=2), found["id"]),
        )
    assert found["key"] in looks.due(begin)
    work("experiments")
    (look,) = experiments.get(f"/v1/experiments/{found['key']}/looks").json()
    assert look["final"]
    assert found["key"] not in looks.due(begin)


def test_a_daily_look_at_an_experiment_under_other_work_is_put_off_and_holds_nobody_up(
    experiment, split, respond, work, begin, owner_engine, unique
):
    found = experiment()
    split(found["key"], {f"{unique}-a": "mail", f"{unique}-b": "nobody"}, T0)
    respond((f"{unique}-a", 1, {}))
    work("experiments")
    with owner_engine.begin() as connection:
        connection.exec_driver_sql("select from experiments.experiment where id = %s for update", (found["id"],))
        began = time.monotonic()
        assert looks.take_due(begin, found["key"]) is None
        assert time.monotonic() - began < 8
    assert looks.take_due(begin, found["key"]) is not None


def test_an_experiment_that_breaks_costs_the_others_no_look(
    experiments, experiment, split, work, begin, owner_engine, unique
):
    broken, whole = experiment("a-broken"), experiment("b-whole")
    for found in (broken, whole):
        split(found["key"], {f"{unique}-{found['key']}-{n}": arm for n, arm in enumerate(("mail", "nobody"))}, T0)
    work("experiments")
    with owner_engine.begin() as connection:
        connection.exec_driver_sql(
            "update experiments.experiment set started_at = %s where id = any(%s)",
            (T0, [broken["id"], whole["id"]]),
        )
        connection.exec_driver_sql(
            "insert into experiments.look (experiment_id, number, taken_at, as_of, content, past) "
            "values (%s, 1, %s, %s, '{}', '{}')",
            (broken["id"], T0, T0),
        )
    assert {broken["key"], whole["key"]} <= set(looks.due(begin))
    work("experiments")
    assert [look["final"] for look in experiments.get(f"/v1/experiments/{whole['key']}/looks").json()] == [True]
    with owner_engine.begin() as connection:
        connection.exec_driver_sql("delete from experiments.look where experiment_id = %s", (broken["id"],))


def test_a_failing_sample_ratio_raises_the_alarm_while_it_runs(experiments, experiment, split, work, begin, unique):
    key = experiment()["key"]
    split(key, {f"{unique}-{n}": "mail" if n % 10 < 7 else "nobody" for n in range(1000)})
    work("experiments")
    assert key in watching.sample_ratio_failures(begin)
    assert measures.ALARMS._value.get() >= 1
    experiments.post(f"/v1/experiments/{key}/stop")
    assert key not in watching.sample_ratio_failures(begin)


def test_waiting_batches_are_shown_with_the_results(experiments, experiment, split, respond, work, begin, unique):
    key = experiment()["key"]
    split(key, {f"{unique}-a": "mail", f"{unique}-b": "nobody"})
    work("experiments")
    respond((f"{unique}-a", 1, {}))
    counted = experiments.get(f"/v1/experiments/{key}/results").json()["counted"]
    assert counted["pending_batches"] == 1
    assert outcomes.waiting(begin)[0] == 1
    full = experiments.get(f"/v1/experiments/{key}/results", params={"refresh": "full"}).json()
    assert (full["counted"]["agrees"], full["metrics"][0]["arms"][1]["responders"]) == (True, 1)
    work("experiments")
    assert experiments.get(f"/v1/experiments/{key}/results").json()["counted"]["pending_batches"] == 0
