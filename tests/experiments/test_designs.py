"""Looks under every design: one blast, staggered sends, open enrolment, and a fixed horizon."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from tests.experiments.conftest import T0, buyers, look, split_in_waves, spread


def test_one_blast_looks_at_everybody_by_the_day(experiments, experiment, split, respond, work, unique):
    key = experiment()["key"]
    arms = spread(unique, 800)
    split(key, arms)
    respond(*((customer, 2.5, {}) for customer in buyers(arms, {"nobody": 0.2, "mail": 0.4})))
    work("experiments")
    first = look(experiments, key, T0 + timedelta(days=2, hours=1))
    assert (first["design"], first["day"], first["effects"][0]["reason"]) == (
        "one_blast", 2, "the control has 0 responders, 25 are needed",
    )  # fmt: skip
    second = look(experiments, key, T0 + timedelta(days=3))
    assert (second["day"], second["final"]) == (3, False)
    assert second["effects"][0]["decided"]
    results = experiments.get(f"/v1/experiments/{key}/results").json()
    (effect,) = results["metrics"][0]["effects"]
    assert effect["sequential"]["overstated"]
    assert effect["verdict"] == "better"


def test_money_on_a_frozen_list_is_tested_by_replaying_the_draw(
    experiments, experiment, metric, split, respond, work, unique
):
    revenue = metric("revenue", kind="revenue", currency="EUR")
    key = experiment(metrics={"primary": revenue})["key"]
    arms = spread(unique, 1000)
    split(key, arms)
    amounts = np.random.default_rng(2).lognormal(2, 1, 1000).round(2)
    chosen = buyers(arms, {"nobody": 0.25, "mail": 0.5})
    respond(*((customer, 1, {"value": f"{amounts[n]}"}) for n, customer in enumerate(chosen)))
    work("experiments")
    (effect,) = look(experiments, key)["effects"]
    assert effect["method"] == "randomisation test"
    assert effect["randomisation"]["p_value"] < 0.01
    assert effect["low"] > 0


def test_staggered_sends_look_at_mature_customers_only(experiments, experiment, split, respond, work, unique):
    key = experiment()["key"]
    later = T0 + timedelta(days=10)
    first, second = spread(f"{unique}-a", 800), spread(f"{unique}-b", 800)
    rows = {**first, **second}
    split_in_waves(experiments, key, {**dict.fromkeys(first, T0), **dict.fromkeys(second, later)}, rows)
    respond(*((customer, 1, {}) for customer in buyers(first, {"nobody": 0.2, "mail": 0.4})))
    respond(*((customer, 1, {}) for customer in buyers(second, {"nobody": 0.2, "mail": 0.4})), t0=later)
    work("experiments")
    early = look(experiments, key, T0 + timedelta(days=15))
    assert (early["design"], early["final"], early["day"]) == ("staggered", False, None)
    final = look(experiments, key)
    assert final["final"]
    assert final["effects"][0]["spent"] == pytest.approx(0.05)
    assert final["effects"][0]["standard_error"] < early["effects"][0]["standard_error"]


def test_open_enrolment_has_a_confidence_sequence_at_every_instant(
    experiments, experiment, metric, respond, work, unique
):
    orders = metric("orders", maturity="open")
    key = experiment(metrics={"primary": orders}, method="confidence_sequence", planned_size=2000)["key"]
    arms = {}
    for n in range(600):
        answer = experiments.post("/v1/assign", json={"customer_id": f"{unique}-{n:04d}", "experiments": [key]})
        arms[f"{unique}-{n:04d}"] = answer.json()["assignments"][0]["arm"]
    chosen = buyers(arms, {"nobody": 0.2, "mail": 0.5})
    respond(*((customer, 0.01, {}) for customer in chosen), t0=datetime.now(UTC))
    work("experiments")
    before = experiments.get(f"/v1/experiments/{key}/results").json()
    assert before["design"] == "open_enrolment"
    assert before["metrics"][0]["effects"][0]["sequential"] is None
    taken = look(experiments, key)
    after = experiments.get(f"/v1/experiments/{key}/results").json()
    (effect,) = after["metrics"][0]["effects"]
    assert effect["sequential"]["low"] == pytest.approx(taken["effects"][0]["low"])
    assert effect["sequential"]["low"] < effect["fixed"]["low"]
    assert (effect["sequential"]["look"], effect["verdict"]) == (None, "better")


def test_a_fixed_horizon_has_no_looks_and_no_verdict_before_its_end(
    experiments, experiment, split, respond, work, unique
):
    key = experiment(method="fixed", planned_size=400)["key"]
    arms = spread(unique, 400)
    now = datetime.now(UTC)
    split(key, arms, now - timedelta(days=3))
    respond(*((customer, 1, {}) for customer in buyers(arms, {"nobody": 0.2, "mail": 0.5})), t0=now - timedelta(days=3))
    work("experiments")
    assert experiments.post(f"/v1/experiments/{key}/looks").status_code == 409
    (effect,) = experiments.get(f"/v1/experiments/{key}/results").json()["metrics"][0]["effects"]
    assert (effect["absolute"]["estimate"], effect["verdict"]) == (None, "too_few")


def test_several_arms_share_the_error_by_holm(experiments, experiment, split, respond, work, unique):
    arms = [
        {"key": "nobody", "weight": 0.4, "control": True},
        {"key": "mail", "weight": 0.3},
        {"key": "push", "weight": 0.3},
    ]
    key = experiment(arms=arms)["key"]
    shares = ["nobody"] * 4 + ["mail"] * 3 + ["push"] * 3
    people = {f"{unique}-{n:04d}": shares[n % 10] for n in range(1000)}
    split(key, people)
    respond(*((c, 1, {}) for c in buyers(people, {"nobody": 0.2, "mail": 0.3, "push": 0.22})))
    work("experiments")
    look(experiments, key)
    mail, push = experiments.get(f"/v1/experiments/{key}/results").json()["metrics"][0]["effects"]
    low, high = sorted((mail, push), key=lambda effect: effect["p_value"])
    assert low["adjusted_p_value"] == pytest.approx(min(1, 2 * low["p_value"]))
    assert high["adjusted_p_value"] == pytest.approx(max(high["p_value"], low["adjusted_p_value"]))
