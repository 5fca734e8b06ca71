"""Outcomes are recounted: late, early, repeated and refunded responses end up where they belong."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services.experiments.actions import outcomes
from services.experiments.migrations import versions
from services.experiments.queries import outcomes as queries
from shared.db import transaction
from tests.experiments.conftest import T0, created


def test_only_responses_inside_the_window_count(experiment, metric, split, respond, work, outcomes_of, unique):
    key = metric("count", kind="count", window_days=7)
    found = experiment(metrics={"primary": key})
    a, b, c = (f"{unique}-{name}" for name in "abc")
    split(found["key"], {a: "mail", b: "nobody", c: "mail"})
    second = timedelta(seconds=1) / timedelta(days=1)
    respond((a, 0, {}), (a, -second, {}), (b, 7 - second, {}), (c, 7, {}))
    work("experiments")
    assert outcomes_of(found["id"]) == {(a, key): 1, (b, key): 1}


def test_a_refund_is_taken_away_and_another_currency_is_not_added(
    experiment, metric, split, respond, work, outcomes_of, unique
):
    events = [{"event": "order"}, {"event": "refund", "sign": -1}]
    revenue = metric("revenue", kind="revenue", events=events, currency="EUR")
    profit = metric("profit", kind="profit", events=events, currency="EUR", margin=0.4)
    found = experiment(metrics={"primary": revenue, "secondary": [profit]})
    a = f"{unique}-a"
    split(found["key"], {a: "mail"})
    respond(
        (a, 1, {"value": "50.25"}),
        (a, 2, {"value": "1000", "currency": "USD"}),
        (a, 3, {"kind": "refund", "value": "20.05", "currency": "EUR"}),
    )
    work("experiments")
    assert outcomes_of(found["id"]) == {(a, revenue): 30.2, (a, profit): 12.08}


def test_a_condition_on_a_property_decides_what_counts(
    feedback, experiment, metric, split, respond, work, outcomes_of, unique
):
    kind, weird = f"sale_{unique}".replace("-", "_"), 'we"ird \\ näme'
    properties = {"pieces": {"type": "number"}, weird: {"type": "text"}}
    created(feedback.put(f"/v1/kinds/{kind}", json={"properties": properties}))
    counted = {"kind": "count", "event": kind}
    jackets = metric("jackets", **counted, where={"category": {"is": "in", "value": ["jackets", "coats"]}})
    others = metric("others", **counted, where={"category": {"is": "ne", "value": "jackets"}})
    quoted = metric("quoted", **counted, where={weird: {"is": "eq", "value": "O'Neil\"; drop table x"}})
    large = metric("large", **counted, value="pieces", where={"pieces": {"is": "gte", "value": 2}})
    found = experiment(metrics={"primary": jackets, "secondary": [others, quoted, large]})
    a = f"{unique}-a"
    split(found["key"], {a: "mail"})
    respond(
        (a, 1, {"kind": kind, "properties": {"category": "jackets", "pieces": 3}}),
        (a, 1, {"kind": kind, "properties": {"category": "coats", weird: "O'Neil\"; drop table x", "pieces": 1}}),
        (a, 1, {"kind": kind, "properties": {}}),
        (a, 1, {"kind": kind}),
    )
    work("experiments")
    assert outcomes_of(found["id"]) == {(a, jackets): 2, (a, others): 3, (a, quoted): 1, (a, large): 3}


@pytest.mark.parametrize(
    ("quantity", "counted", "profited"),
    [(1.7e308, 1e20, 1e20), (1e200, 1e20, 1e20), (4e19, 8e19, 4e19), (5e-324, 0, 0)],
)
def test_no_number_that_an_earlier_release_took_keeps_anything_from_being_counted(
    experiments,
    experiment,
    metric,
    split,
    respond,
    work,
    outcomes_of,
    owner_engine,
    unique,
    quantity,
    counted,
    profited,
):
    lines = {"event": "order_line", "value": "quantity"}
    pieces = metric("pieces", kind="count", **lines)
    profit = metric("profit", kind="profit", margin=0.5, maturity="open", **lines)
    found = experiment(metrics={"primary": pieces, "secondary": [profit]})
    a, b, c = (f"{unique}-{name}" for name in "abc")
    split(found["key"], {a: "mail", b: "mail", c: "nobody"})
    line = {"kind": "order_line", "value": "1", "currency": "EUR", "properties": {"quantity": 3}}
    respond((a, 1, line), (a, 2, line), (b, 1, line), (c, 1, line))
    with owner_engine.begin() as connection:
        connection.exec_driver_sql(
            "update feedback.event set properties = jsonb_build_object('quantity', %s::numeric) where customer_id = %s",
            (repr(quantity), a),
        )
    work("experiments")
    expected = {(a, pieces): counted, (a, profit): profited, (b, pieces): 3, (b, profit): 1.5, (c, pieces): 3}
    assert outcomes_of(found["id"]) == expected | {(c, profit): 1.5}
    for refresh in ("incremental", "full"):
        answer = experiments.get(f"/v1/experiments/{found['key']}/results", params={"refresh": refresh})
        assert answer.status_code == 200, answer.text
    assert answer.json()["counted"]["agrees"] is True


def test_who_has_an_outcome_beyond_what_can_be_added_up_is_counted_again_after_an_upgrade(
    experiments, experiments_engine, experiment, metric, split, respond, work, outcomes_of, owner_engine, unique
):
    key = metric("count", kind="count")
    live, away = (experiment(name, metrics={"primary": key}) for name in ("live", "away"))
    a, b = f"{unique}-a", f"{unique}-b"
    for found in (live, away):
        split(found["key"], {a: "mail", b: "nobody"})
    respond((a, 1, {}), (b, 1, {}))
    work("experiments")
    for move in ("stop", "archive"):
        assert experiments.post(f"/v1/experiments/{away['key']}/{move}").status_code == 200
    with owner_engine.begin() as connection:
        connection.exec_driver_sql("update experiments.outcome set value = -1e200 where customer_id = %s", (a,))
        connection.exec_driver_sql("drop index experiments.outcome_uncountable")
        connection.exec_driver_sql((Path(versions.__path__[0]) / "0004_countable.sql").read_text())
    assert outcomes_of(away["id"]) == {(a, key): -1e20, (b, key): 1}
    results = f"/v1/experiments/{live['key']}/results"
    assert experiments.get(results).status_code == 200
    assert outcomes.tick(lambda: transaction(experiments_engine)) == 1
    assert outcomes_of(live["id"]) == {(a, key): 1, (b, key): 1}
    assert experiments.get(results, params={"refresh": "full"}).json()["counted"]["agrees"] is True
    assert outcomes.tick(lambda: transaction(experiments_engine)) == 0


def test_what_arrives_late_changes_only_whom_it_is_about(experiment, metric, split, respond, work, outcomes_of, unique):
    key = metric("count", kind="count")
    found = experiment(metrics={"primary": key})
    a, b = f"{unique}-a", f"{unique}-b"
    respond((a, 1, {}))  # before anybody is assigned
    split(found["key"], {a: "mail", b: "nobody"})
    work("experiments")
    assert outcomes_of(found["id"]) == {(a, key): 1}
    respond((b, 2, {}), (a, 3, {}))
    work("experiments")
    assert outcomes_of(found["id"]) == {(a, key): 2, (b, key): 1}


def test_a_changed_metric_leaves_running_experiments_as_they_were(
    experiments, experiment, metric, split, respond, work, outcomes_of, unique
):
    key = metric("count", kind="count", window_days=7)
    found = experiment(metrics={"primary": key})
    body = {"key": key, "kind": "count", "event": "order", "window_days": 1}
    assert experiments.put(f"/v1/metrics/{key}", json=body).json()["version"] == 2
    split(found["key"], {f"{unique}-a": "mail"}, T0)
    respond((f"{unique}-a", 5, {}))
    work("experiments")
    assert outcomes_of(found["id"]) == {(f"{unique}-a", key): 1}


@pytest.fixture
def usual_lag(experiments_engine):
    """Count what arrived, and say within how long events usually arrive."""

    def tick() -> timedelta:
        outcomes.tick(lambda: transaction(experiments_engine))
        with transaction(experiments_engine) as db:
            return queries.pending(db).usual_lag

    return tick


def _arrived_earlier(owner_engine, days: int) -> None:
    with owner_engine.begin() as connection:
        connection.exec_driver_sql("update experiments.arrival_delay set day = day - %s", (days,))


def test_orders_of_a_weekly_file_are_waited_for_though_views_come_all_day(
    clean, metric, respond, usual_lag, owner_engine, unique
):
    metric("orders")
    metric("views", event="view")
    now = datetime.now(UTC)
    respond(*((f"{unique}-{n}", -n / 100, {}) for n in range(1, 650)), t0=now)
    assert usual_lag() == timedelta(days=6, hours=11)
    for _ in range(40):
        respond(*((f"{unique}-{n}", 0, {"kind": "view"}) for n in range(50)), t0=datetime.now(UTC))
        assert usual_lag() == timedelta(days=6, hours=11)
    _arrived_earlier(owner_engine, 7)
    assert usual_lag() == timedelta(days=6, hours=11)
    _arrived_earlier(owner_engine, 2)
    respond((f"{unique}-late", 0, {"kind": "view"}), t0=datetime.now(UTC))
    assert usual_lag() <= timedelta(minutes=1)


def test_after_an_upgrade_the_lag_is_learnt_from_what_had_arrived_before(
    clean, metric, respond, usual_lag, owner_engine, unique
):
    metric("orders")
    respond(*((f"{unique}-{n}", -n / 100, {}) for n in range(1, 50)), t0=datetime.now(UTC))
    before = usual_lag()
    assert before >= timedelta(hours=11)
    with owner_engine.begin() as connection:
        connection.exec_driver_sql("delete from experiments.arrival_delay")  # as the older release knew nothing of it
    assert usual_lag() == before


def test_what_no_metric_counts_and_history_being_loaded_are_not_waited_for(clean, metric, respond, usual_lag, unique):
    metric("orders")
    now = datetime.now(UTC)
    respond((f"{unique}-a", -3, {"kind": "view"}), *((f"{unique}-{n}", -9 - n, {}) for n in range(20)), t0=now)
    assert usual_lag() == timedelta(0)
