"""What the difference is: equal to an independent library on the same raw numbers, and honest about what it is not."""

import math
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from scipy import stats

from tests.experiments.conftest import T0, split_in_waves, spread


@pytest.fixture
def played(experiment, metric, split, respond, work, unique):
    """An experiment with 300 customers an arm, and what each of them did: (key, metric keys, values by arm)."""
    rng = np.random.default_rng(7)
    keys = {
        "orders": metric("orders"),
        "revenue": metric("revenue", kind="revenue", currency="EUR"),
        "profit": metric("profit", kind="profit", currency="EUR", margin=0.5),
    }
    found = experiment(
        metrics={"primary": keys["orders"], "secondary": [keys["revenue"], keys["profit"]]}, planned_size=600
    )
    customers = {arm: [f"{unique}-{arm}-{n}" for n in range(300)] for arm in ("nobody", "mail")}
    split(found["key"], {customer: arm for arm, ids in customers.items() for customer in ids})
    money = {arm: np.zeros(300) for arm in customers}
    responses = []
    for arm, share in (("nobody", 0.4), ("mail", 0.6)):
        for n, customer in enumerate(customers[arm]):
            for _ in range(rng.binomial(2, share / 2)):
                amount = round(float(rng.lognormal(3, 0.5)), 2)
                money[arm][n] += amount
                responses.append((customer, float(rng.uniform(0, 13)), {"value": f"{amount}", "currency": "EUR"}))
    respond(*responses)
    work("experiments")
    return found["key"], keys, money


def effect(results: dict, key: str) -> dict:
    (found,) = next(metric for metric in results["metrics"] if metric["metric"] == key)["effects"]
    return found


def test_means_and_fixed_intervals_equal_scipy_on_the_raw_values(experiments, played):
    key, keys, money = played
    results = experiments.get(f"/v1/experiments/{key}/results").json()
    for name, of in (
        ("orders", lambda y: (y > 0).astype(float)),
        ("revenue", lambda y: y),
    ):
        control, treatment = of(money["nobody"]), of(money["mail"])
        expected = stats.ttest_ind(treatment, control, equal_var=False)
        interval = expected.confidence_interval(0.95)
        found = effect(results, keys[name])
        assert found["absolute"]["estimate"] == pytest.approx(treatment.mean() - control.mean(), rel=1e-9)
        assert found["fixed"]["low"] == pytest.approx(interval.low, rel=1e-9)
        assert found["fixed"]["high"] == pytest.approx(interval.high, rel=1e-9)
        assert found["fixed"]["p_value"] == pytest.approx(expected.pvalue, rel=1e-9)


def test_profit_is_margin_of_revenue_less_the_cost_of_contacts(experiments, played):
    key, keys, money = played
    results = experiments.get(f"/v1/experiments/{key}/results").json()
    expected = 0.5 * (money["mail"].mean() - money["nobody"].mean()) - 0.10
    assert effect(results, keys["profit"])["absolute"]["estimate"] == pytest.approx(expected, rel=1e-9)
    metric = next(each for each in results["metrics"] if each["metric"] == keys["profit"])
    for arm in metric["arms"]:
        assert arm["total"] == pytest.approx(arm["mean"] * arm["n"])
        assert arm["total"] == pytest.approx(0.5 * money[arm["arm"]].sum() - (30 if arm["arm"] == "mail" else 0))
    (brought,) = results["money"]
    assert brought["incremental_profit"]["estimate"] == pytest.approx(expected * 300, rel=1e-9)
    assert (brought["contacts"], brought["cost"]) == (300, "30.00")


def test_whose_t0_is_still_to_come_has_an_arm_and_counts_in_no_mean_however_it_is_counted(
    experiments, experiment, metric, respond, work, owner_engine, unique
):
    key = experiment(metrics={"primary": metric("soon", maturity="open")})["key"]
    arms, now = spread(unique, 200), datetime.now(UTC)
    waves = {customer: now + timedelta(days=5 if n >= 100 else -2) for n, customer in enumerate(arms)}
    split_in_waves(experiments, key, waves, arms)
    respond(*((customer, 0.5, {}) for customer in list(arms)[:40]), t0=now - timedelta(days=2))
    work("experiments")

    def seen(refresh):
        found = experiments.get(f"/v1/experiments/{key}/results", params={"refresh": refresh}).json()
        sizes = [arm["assigned"] for arm in found["arms"]]
        counted = [(arm["n"], arm["responders"]) for arm in found["metrics"][0]["arms"]]
        return sizes, counted, found["counted"]["agrees"]

    assert seen("incremental") == ([100, 100], [(50, 20)] * 2, None)
    assert seen("full") == ([100, 100], [(50, 20)] * 2, True)
    with owner_engine.begin() as connection:
        changed = "update experiments.cohort set customers = customers + 1 where experiment_id = "
        connection.exec_driver_sql(changed + "(select id from experiments.experiment where key = %s)", (key,))
    assert seen("full")[2] is False


def test_the_full_recount_agrees_with_what_was_accumulated(experiments, played):
    key, _, _ = played
    quick = experiments.get(f"/v1/experiments/{key}/results").json()
    full = experiments.get(f"/v1/experiments/{key}/results", params={"refresh": "full"}).json()
    assert full["counted"]["agrees"] is True
    for one, other in zip(full["metrics"], quick["metrics"], strict=True):
        for arm, same in zip(one["arms"], other["arms"], strict=True):
            assert arm == {
                name: pytest.approx(value, rel=1e-12) if isinstance(value, float) else value
                for name, value in same.items()
            }
        assert one["effects"][0]["fixed"]["p_value"] == pytest.approx(other["effects"][0]["fixed"]["p_value"], rel=1e-9)


def test_the_audit_finds_an_outcome_that_somebody_changed(experiments, played, owner_engine):
    key, _, _ = played
    found = experiments.get(f"/v1/experiments/{key}").json()
    with owner_engine.begin() as connection:
        changed = connection.exec_driver_sql(
            "update experiments.outcome set value = value + 1 where experiment_id = %s and customer_id = "
            "(select min(customer_id) from experiments.outcome where experiment_id = %s)",
            (found["id"], found["id"]),
        )
    full = experiments.get(f"/v1/experiments/{key}/results", params={"refresh": "full"}).json()
    assert changed.rowcount == 3
    assert full["counted"]["agrees"] is False


def test_results_of_a_past_instant_know_only_what_had_happened(experiments, played):
    key, keys, _ = played
    early = experiments.get(f"/v1/experiments/{key}/results", params={"as_of": T0.isoformat()}).json()
    metric = next(each for each in early["metrics"] if each["metric"] == keys["orders"])
    assert [arm["n"] for arm in metric["arms"]] == [0, 0]
    assert metric["effects"][0]["absolute"] == {"estimate": None, "low": None, "high": None}
    assert "no window has closed yet" in metric["effects"][0]["notes"]


def test_reading_spends_nothing_and_a_look_spends_its_share_once(experiments, played):
    key, keys, _ = played
    before = experiments.get(f"/v1/experiments/{key}/results").json()
    assert before["look"] is None
    assert effect(before, keys["orders"])["sequential"] is None
    half = (T0 + timedelta(days=7)).isoformat()
    first = experiments.post(f"/v1/experiments/{key}/looks", json={"as_of": half})
    assert first.status_code == 201, first.text
    assert first.json()["day"] == 7
    assert first.json()["effects"][0]["spent"] == pytest.approx(0.05 * 0.5**2)
    last = experiments.post(f"/v1/experiments/{key}/looks")
    assert (last.json()["day"], last.json()["final"]) == (14, True)
    assert last.json()["effects"][0]["spent"] == pytest.approx(0.05)
    again = experiments.post(f"/v1/experiments/{key}/looks")
    assert (again.status_code, again.json()) == (200, last.json())
    history = experiments.get(f"/v1/experiments/{key}/results/history").json()
    assert [point["look"] for point in history["points"]] == [1, 1, 1, 2, 2, 2]
    after = effect(experiments.get(f"/v1/experiments/{key}/results").json(), keys["orders"])
    assert after["sequential"]["look"] == 2
    assert after["verdict"] == "better"
    assert after["absolute"]["low"] > 0


def test_looks_never_go_back_and_never_into_the_future(experiments, played):
    key, _, _ = played
    assert experiments.post(f"/v1/experiments/{key}/looks").status_code == 201
    for as_of in ("2026-03-04T00:00:00Z", "2150-01-01T00:00:00Z"):
        answer = experiments.post(f"/v1/experiments/{key}/looks", json={"as_of": as_of})
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"] == "/as_of"


def test_a_healthy_winner_is_shipped_and_the_reasons_are_words(experiments, played):
    key, keys, _ = played
    experiments.post(f"/v1/experiments/{key}/looks")
    decision = experiments.get(f"/v1/experiments/{key}/decision").json()
    assert (decision["verdict"], decision["arm"], decision["healthy"]) == ("ship", "mail", True)
    assert decision["reasons"][0].startswith(f"Arm mail does better on {keys['orders']} than nobody: +")


def test_a_split_that_missed_its_weights_stands_above_every_effect(
    experiments, experiment, split, respond, work, unique
):
    found = experiment()
    split(found["key"], {f"{unique}-{n}": "mail" if n % 10 < 7 else "nobody" for n in range(1000)})
    work("experiments")
    results = experiments.get(f"/v1/experiments/{found['key']}/results").json()
    ratio = results["health"][0]
    assert (ratio["check"], ratio["status"]) == ("sample_ratio", "failed")
    assert ratio["figure"] == pytest.approx(stats.chisquare([300, 700]).pvalue)
    decision = experiments.get(f"/v1/experiments/{found['key']}/decision").json()
    assert (decision["verdict"], decision["healthy"]) == ("stop", False)


def test_nothing_that_cannot_be_estimated_becomes_a_number(experiments, experiment, split, work, unique):
    found = experiment()
    split(found["key"], {f"{unique}-a": "mail", f"{unique}-b": "nobody"})
    work("experiments")
    answer = experiments.get(f"/v1/experiments/{found['key']}/results")
    assert "NaN" not in answer.text
    (each,) = answer.json()["metrics"][0]["effects"]
    assert each["verdict"] == "too_few"
    assert (each["standard_error"], each["relative"]["estimate"], each["adjusted_p_value"]) == (None, None, None)
    assert not any(isinstance(value, float) and math.isnan(value) for value in each.values())


def test_two_looks_at_once_are_one_look(experiments, played):
    key, _, _ = played
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: experiments.post(f"/v1/experiments/{key}/looks"), range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 201]
    assert len({answer.json()["digest"] for answer in answers}) == 1
    assert len(experiments.get(f"/v1/experiments/{key}/looks").json()) == 1


def test_before_the_first_window_closes_it_is_said_how_many_responded_and_when_it_closes(
    experiments, experiment, metric, split, respond, work, unique
):
    key, t0 = experiment(metrics={"primary": metric("orders")})["key"], datetime.now(UTC) - timedelta(days=3)
    split(key, {f"{unique}-a": "mail", f"{unique}-b": "nobody", f"{unique}-c": "mail"}, t0)
    respond((f"{unique}-a", 0, {}), (f"{unique}-b", 1, {}), t0=t0)
    work("experiments")
    (effect,) = experiments.get(f"/v1/experiments/{key}/results").json()["metrics"][0]["effects"]
    closes = f"{t0 + timedelta(days=14):%Y-%m-%d, %H:%M} UTC"
    assert f"2 customers have responded so far; the first window closes on {closes}" in effect["notes"]


@pytest.fixture
def delays(clean, owner_engine):
    """Arrivals that no other test knows of, and that are forgotten afterwards."""
    yield
    with owner_engine.begin() as connection:
        connection.exec_driver_sql("delete from experiments.arrival_delay")


def test_who_waits_for_late_arrivals_is_told_of_which_kind_and_until_when(
    delays, experiments, experiment, metric, split, respond, work, unique
):
    t0 = datetime.now(UTC) - timedelta(days=15)
    key = experiment(metrics={"primary": metric(window_days=10)})["key"]
    split(key, spread(unique, 60), t0)
    respond(*((f"{unique}-{n:04d}", 8 + n / 50, {}) for n in range(60)), t0=t0)
    work("experiments")
    found = experiments.get(f"/v1/experiments/{key}/results").json()
    waits, (measured,) = found["counted"]["waits_for"], found["metrics"]
    assert (waits["kind"], 6.9 < waits["hours"] / 24 < 7.1, measured["mature_until"]) == ("order", True, None)
    counts = t0 + timedelta(days=10, hours=waits["hours"])
    said = (
        f"windows have closed since {t0 + timedelta(days=10):%Y-%m-%d, %H:%M} UTC, but late arrivals are waited for: "
        f"order events arrive up to {waits['hours'] / 24:.3g} days late, so the first of them counts from "
        f"{counts:%Y-%m-%d, %H:%M} UTC on"
    )
    assert said in measured["effects"][0]["notes"]
    assert "no window has closed yet" not in measured["effects"][0]["notes"]
    for learnt in ("uplift", "policy"):
        answer = experiments.get(f"/v1/experiments/{key}/{learnt}")
        assert (answer.status_code, answer.json()["detail"]) == (409, f"Nobody counts yet: {said}.")
    check = next(each for each in found["health"] if each["check"] == "late_arrivals")
    assert (check["status"], check["figure"]) == ("warning", pytest.approx(waits["hours"] / 24))
    reasons = experiments.get(f"/v1/experiments/{key}/decision").json()["reasons"]
    assert any("order events arrive up to" in reason and waits["forgotten"][:10] in reason for reason in reasons)
    assert "Late arrivals are waited for" in experiments.get(f"/v1/experiments/{key}/report").text


def test_what_usually_arrives_within_a_day_is_no_reason_to_warn(
    delays, experiments, experiment, split, respond, work, unique
):
    key = experiment()["key"]
    split(key, spread(unique, 4), datetime.now(UTC) - timedelta(days=3))
    respond((f"{unique}-0000", -1.2, {}), t0=datetime.now(UTC))
    work("experiments")
    found = experiments.get(f"/v1/experiments/{key}/results").json()
    assert found["counted"]["waits_for"]["hours"] == 29
    assert "late_arrivals" not in {each["check"] for each in found["health"]}


def test_an_estimate_that_weighs_strata_is_told_beside_the_means_of_all_customers(
    audience, experiments, experiment, target_list, metric, respond, work, unique
):
    strata = {"new": (7, 5), "old": (20, 4)}  # customers, responders: the arms share seven as four and three
    members = [(f"{unique}-{name}-{n}", name, False, {}) for name, (size, _) in strata.items() for n in range(size)]
    given = {"target_list_id": str(target_list(members)), "split": "exact", "method": "fixed"}
    key = experiment(metrics={"primary": metric("orders")}, **given)["key"]
    place = f"/v1/experiments/{key}/assignments"
    assert experiments.post(place, json={"t0": T0.isoformat()}).json()["assigned"] == 27
    lines = experiments.get(place, headers={"Accept": "text/csv"}).text.splitlines()[1:]
    arms = dict(line.split(",")[:2] for line in lines)
    responders = {f"{unique}-{name}-{n}" for name, (_, many) in strata.items() for n in range(many)}
    respond(*((customer, 1, {}) for customer in responders))
    work("experiments")
    (measured,) = experiments.get(f"/v1/experiments/{key}/results").json()["metrics"]
    (effect,) = measured["effects"]

    def share(arm: str, name: str) -> float:
        own = [customer for customer, stratum, _, _ in members if stratum == name and arms[customer] == arm]
        return sum(customer in responders for customer in own) / len(own)

    weighed = {
        arm: sum(size * share(arm, name) / 27 for name, (size, _) in strata.items()) for arm in ("mail", "nobody")
    }
    assert effect["absolute"]["estimate"] == pytest.approx(weighed["mail"] - weighed["nobody"])
    by_arm = {arm["arm"]: arm["mean"] for arm in measured["arms"]}
    assert effect["absolute"]["estimate"] != pytest.approx(by_arm["mail"] - by_arm["nobody"], rel=0.01)
    said = f"so weighed the means are {weighed['mail']:.4g} and {weighed['nobody']:.4g}, not those of all customers"
    assert any(note.endswith(said) for note in effect["notes"]), effect["notes"]
