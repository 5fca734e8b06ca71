"""Outcomes are recounted: late, early, repeated and refunded responses end up where they belong."""

from datetime import timedelta

from tests.experiments.conftest import T0


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


def test_a_condition_on_a_property_decides_what_counts(experiment, metric, split, respond, work, outcomes_of, unique):
    jackets = metric("jackets", kind="count", where={"category": {"is": "in", "value": ["jackets", "coats"]}})
    others = metric("others", kind="count", where={"category": {"is": "ne", "value": "jackets"}})
    quoted = metric("quoted", kind="count", where={'we"ird \\ näme': {"is": "eq", "value": "O'Neil\"; drop table x"}})
    large = metric("large", kind="count", value="pieces", where={"pieces": {"is": "gte", "value": 2}})
    found = experiment(metrics={"primary": jackets, "secondary": [others, quoted, large]})
    a = f"{unique}-a"
    split(found["key"], {a: "mail"})
    respond(
        (a, 1, {"properties": {"category": "jackets", "pieces": 3}}),
        (a, 1, {"properties": {"category": "coats", 'we"ird \\ näme': "O'Neil\"; drop table x", "pieces": 1}}),
        (a, 1, {"properties": {}}),
        (a, 1, {}),
    )
    work("experiments")
    assert outcomes_of(found["id"]) == {(a, jackets): 2, (a, others): 3, (a, quoted): 1, (a, large): 3}


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
