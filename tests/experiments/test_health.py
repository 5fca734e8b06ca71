"""Health: what would make an effect unbelievable is found whatever ids and features look like."""

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from services.experiments.actions.results import BALANCED_OVER
from tests.experiments.conftest import T0, created, spread

ASSIGNED = sa.text("""
    insert into experiments.assignment
           (customer_id, experiment_id, arm, t0, probability, stratum, features, source, assigned_at)
    select cast(:prefix as text) || lpad(cast(n as text), 6, '0'), :id, :arm, :t0, 0.5, '',
           case when cast(:age as integer) is null then '{}' else jsonb_build_object('age', :age + n % 10) end
           || case when n <= 20 then jsonb_build_object('big', cast('1e400' as numeric)) else '{}' end,
           'external', :t0
      from generate_series(1, :customers) as n
""")


@pytest.fixture
def balance(owner_engine, experiments, experiment, work, unique):
    """The balance check where ids begin with their arm, each arm as large as all customers that are compared."""

    def check(ages: dict[str, int | None]) -> dict:
        found = experiment()
        with owner_engine.begin() as connection:
            for arm, age in ages.items():
                given = {"prefix": f"{arm}-{unique}-", "id": found["id"], "arm": arm, "age": age, "t0": T0}
                connection.execute(ASSIGNED, {**given, "customers": BALANCED_OVER})
        work("experiments")
        health = experiments.get(f"/v1/experiments/{found['key']}/results").json()["health"]
        return next(each for each in health if each["check"] == "balance")

    return check


def test_arms_unlike_each_other_are_found_where_ids_carry_the_arm(balance):
    found = balance({"mail": 30, "nobody": 50})
    assert (found["status"], found["figure"] > 5) == ("warning", True)


def test_arms_alike_are_balanced_where_ids_carry_the_arm(balance):
    found = balance({"mail": 30, "nobody": 30})
    assert (found["status"], found["figure"] < 0.2) == ("ok", True)


def test_an_arm_of_whom_nothing_is_known_is_warned_of(balance):
    found = balance({"mail": 30, "nobody": None})
    assert (found["status"], found["figure"]) == ("warning", None)
    assert "nobody" in found["detail"]


@pytest.mark.parametrize(("foreign", "status"), [(0, "ok"), (1, "warning"), (2, "failed")])
def test_money_that_is_not_counted_is_told_once_however_many_metrics_leave_it_out(
    experiments, experiment, metric, split, respond, work, unique, foreign, status
):
    profit, value = metric("profit", kind="profit", currency="EUR", margin=0.5), metric("value", kind="revenue")
    revenue = metric("revenue", kind="revenue", currency="EUR")
    key = experiment(metrics={"primary": revenue, "secondary": [profit, value]})["key"]
    arms = spread(unique, 150)
    split(key, arms)
    respond(*((customer, 1, {"currency": "USD" if n < foreign else "EUR"}) for n, customer in enumerate(arms)))
    respond(*((customer, 2, {"currency": "USD"}) for customer in list(arms)[:foreign]))
    work("experiments")
    health = experiments.get(f"/v1/experiments/{key}/results").json()["health"]
    found = next(each for each in health if each["check"] == "currency")
    assert (found["status"], found["figure"]) == (status, pytest.approx(foreign / 150))
    assert not foreign or found["detail"].startswith(f"{2 * foreign} responses")


@pytest.mark.parametrize(("days", "status"), [(0.5, None), (40, "warning")])
def test_a_metric_that_nobody_ever_sent_an_event_for_is_warned_of(
    feedback, experiments, experiment, metric, split, respond, work, unique, days, status
):
    kind, t0 = f"visit_{unique}".replace("-", "_"), datetime.now(UTC) - timedelta(days=days)
    created(feedback.put(f"/v1/kinds/{kind}", json={}))
    silent = metric("visits", event=kind)
    key = experiment(metrics={"primary": metric(), "secondary": [silent]})["key"]
    split(key, {f"{unique}-a": "mail", f"{unique}-b": "nobody"}, t0)
    respond((f"{unique}-a", 0, {}), t0=t0)
    work("experiments")

    def check() -> dict | None:
        health = experiments.get(f"/v1/experiments/{key}/results").json()["health"]
        return next((each for each in health if each["check"] == "responses_arrive"), None)

    found = check()
    assert (found and found["status"]) == status
    if status:
        assert silent in found["detail"]
        assert kind in found["detail"]
        assert "orders" not in found["detail"]
        respond((f"{unique}-b", 0, {"kind": kind}), t0=t0)
        work("experiments")
        assert check()["status"] == "ok"
