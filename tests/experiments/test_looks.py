"""Looks over a whole life: what stands, what is left to spend, when it ends, and what results say of it meanwhile."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import sqlalchemy as sa

from services.experiments import looking
from services.experiments.actions import looks
from tests.experiments.conftest import T0, buyers, look, ndjson, split_in_waves, spread


def test_a_look_repeats_what_a_metric_with_nothing_new_said_and_a_verdict_stands(
    experiments, experiment, metric, split, respond, work, unique
):
    slow, quick = metric("slow", window_days=14), metric("quick", window_days=3)
    key = experiment(metrics={"primary": slow, "secondary": [quick]})["key"]
    waves = [T0, T0 + timedelta(days=20), T0 + timedelta(days=60)]
    people = [spread(f"{unique}-{n}", 800) for n in range(3)]
    arms = {customer: arm for wave in people for customer, arm in wave.items()}
    split_in_waves(experiments, key, {c: t0 for t0, wave in zip(waves, people, strict=True) for c in wave}, arms)
    for t0, wave in zip(waves, people, strict=True):
        respond(*((customer, 1, {}) for customer in buyers(wave, {"nobody": 0.2, "mail": 0.4})), t0=t0)
    work("experiments")
    first = look(experiments, key, T0 + timedelta(days=15))
    assert [effect["look"] for effect in first["effects"]] == [1, 1]
    again = experiments.post(f"/v1/experiments/{key}/looks", json={"as_of": str(T0 + timedelta(days=16))})
    assert (again.status_code, again.json()["type"]) == (409, "urn:attune:problem:nothing-to-see")
    second = look(experiments, key, T0 + timedelta(days=24))
    assert [effect["look"] for effect in second["effects"]] == [1, 2]
    assert second["effects"][0] == first["effects"][0]
    results = experiments.get(f"/v1/experiments/{key}/results", params={"as_of": str(T0 + timedelta(days=25))}).json()
    (effect,) = results["metrics"][0]["effects"]
    assert (effect["verdict"], effect["sequential"]["look"], results["look"]["number"]) == ("better", 1, 2)


def test_a_look_that_a_process_of_a_later_release_stored_is_read(
    experiments, experiment, metric, split, respond, work, unique, owner_engine
):
    key = experiment(metrics={"primary": metric("quick", window_days=3)})["key"]
    arms = spread(unique, 800)
    split(key, arms)
    respond(*((customer, 1, {}) for customer in buyers(arms, {"nobody": 0.2, "mail": 0.4})))
    work("experiments")
    taken = look(experiments, key, T0 + timedelta(days=5))
    later = sa.text("""
        update experiments.look as l
           set content = jsonb_set(l.content, '{effects,0,later}', '1') || '{"later": 1}'
         where l.content ->> 'digest' = :digest
    """)
    with owner_engine.begin() as connection:
        assert connection.execute(later, {"digest": taken["digest"]}).rowcount == 1
    assert experiments.get(f"/v1/experiments/{key}/looks").json() == [taken]
    assert experiments.get(f"/v1/experiments/{key}/results").status_code == 200


def test_waves_onto_a_list_spend_the_share_of_the_whole_list_that_has_matured(
    audience, experiments, experiment, target_list, respond, work, unique
):
    arms = spread(unique, 800)
    listed = target_list([(customer, "", False, {}) for customer in arms])
    key = experiment(target_list_id=str(listed))["key"]
    first = dict(list(arms.items())[:400])
    second = dict(list(arms.items())[400:])
    split_in_waves(experiments, key, dict.fromkeys(first, T0), first)
    respond(*((customer, 1, {}) for customer in buyers(first, {"nobody": 0.2, "mail": 0.3})))
    work("experiments")
    early = look(experiments, key, T0 + timedelta(days=15))
    assert (early["design"], early["final"]) == ("staggered", False)
    assert 0 < early["effects"][0]["spent"] <= 0.05 * 0.5**2
    later = T0 + timedelta(days=20)
    split_in_waves(experiments, key, dict.fromkeys(second, later), second)
    respond(*((customer, 1, {}) for customer in buyers(second, {"nobody": 0.2, "mail": 0.3})), t0=later)
    work("experiments")
    last = look(experiments, key)
    assert (last["final"], last["effects"][0]["spent"]) == (True, pytest.approx(0.05))


def test_nobody_joins_after_everybody_was_looked_at(
    audience, experiments, experiment, target_list, split, work, unique
):
    arms = spread(unique, 8)
    listed = target_list([(customer, "", False, {}) for customer in arms])
    key = experiment(target_list_id=str(listed), planned_size=4)["key"]
    first, second = dict(list(arms.items())[:4]), dict(list(arms.items())[4:])
    split(key, first)
    work("experiments")
    assert look(experiments, key, T0 + timedelta(days=2))["design"] == "one_blast"
    rows = [{"customer_id": customer, "arm": arm, "assigned_at": T0} for customer, arm in second.items()]
    answer = experiments.post(
        f"/v1/experiments/{key}/assignments?source=external",
        content=ndjson(rows),
        headers={"Content-Type": "application/x-ndjson"},
    )
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:attune:problem:looked-at")
    assert split(key, first)["already"] == 4


def test_until_the_last_look_the_estimate_is_that_of_the_look_like_its_interval(
    experiments, experiment, split, respond, work, unique
):
    arms = [
        {"key": "nobody", "weight": 0.4, "control": True},
        {"key": "mail", "weight": 0.3},
        {"key": "push", "weight": 0.3},
    ]
    key = experiment(arms=arms)["key"]
    people = {f"{unique}-{n:04d}": (["nobody"] * 4 + ["mail"] * 3 + ["push"] * 3)[n % 10] for n in range(1000)}
    split(key, people)
    soon = buyers(people, {"nobody": 0.1, "mail": 0.3, "push": 0.5})
    late = [customer for customer, arm in people.items() if arm == "mail" and customer not in soon]
    respond(*((customer, 1, {}) for customer in soon), *((customer, 9, {}) for customer in late))
    work("experiments")
    taken = look(experiments, key, T0 + timedelta(days=7))
    then = experiments.get(f"/v1/experiments/{key}/results", params={"as_of": str(T0 + timedelta(days=7))}).json()
    for effect, seen in zip(then["metrics"][0]["effects"], taken["effects"], strict=True):
        assert effect["absolute"] == {name: seen[name] for name in ("estimate", "low", "high")}
        assert effect["standard_error"] == seen["standard_error"]
    assert then["money"][1]["incremental_responses"]["estimate"] == pytest.approx(taken["effects"][1]["estimate"] * 300)
    decision = experiments.get(f"/v1/experiments/{key}/decision").json()
    assert (decision["verdict"], decision["arm"]) == ("ship", "push")


def test_results_of_a_past_instant_know_no_later_look(experiments, experiment, split, respond, work, unique):
    key = experiment()["key"]
    arms = spread(unique, 800)
    split(key, arms)
    respond(*((customer, 2.5, {}) for customer in buyers(arms, {"nobody": 0.2, "mail": 0.4})))
    work("experiments")
    look(experiments, key, T0 + timedelta(days=7))
    then = experiments.get(f"/v1/experiments/{key}/results", params={"as_of": str(T0 + timedelta(days=5))}).json()
    (effect,) = then["metrics"][0]["effects"]
    assert (then["look"], effect["sequential"], effect["p_value"]) == (None, None, None)
    assert "arms_contradicted" not in {check["check"] for check in then["health"]}


def test_a_stopped_confidence_sequence_ends_when_everybody_is_mature(
    experiments, experiment, metric, respond, work, owner_engine, unique
):
    found = experiment(metrics={"primary": metric("orders")}, method="confidence_sequence", planned_size=2000)
    key, arms = found["key"], {}
    for n in range(200):
        answer = experiments.post("/v1/assign", json={"customer_id": f"{unique}-{n:04d}", "experiments": [key]})
        arms[f"{unique}-{n:04d}"] = answer.json()["assignments"][0]["arm"]
    with owner_engine.begin() as connection:
        connection.exec_driver_sql(
            "update experiments.assignment set t0 = %s where experiment_id = %s", (T0, found["id"])
        )
    respond(*((customer, 1, {}) for customer in buyers(arms, {"nobody": 0.4, "mail": 0.4})))
    work("experiments")
    assert not look(experiments, key)["final"]
    assert experiments.get(f"/v1/experiments/{key}/decision").json()["verdict"] == "keep_running"
    experiments.post(f"/v1/experiments/{key}/stop")
    assert look(experiments, key)["final"]
    decision = experiments.get(f"/v1/experiments/{key}/decision").json()
    assert (decision["verdict"], decision["reasons"][-1]) == ("stop", "The end is reached: no arm is shown better.")
    assert experiments.post(f"/v1/experiments/{key}/looks").status_code == 200


def test_a_fixed_horizon_waits_for_everybody_assigned_not_for_its_first_mature_cohort(
    experiments, experiment, respond, work, unique
):
    key = experiment(method="fixed")["key"]
    first, second = spread(f"{unique}-a", 800), spread(f"{unique}-b", 200)
    recently = datetime.now(UTC) - timedelta(days=3)
    split_in_waves(experiments, key, {**dict.fromkeys(first, T0), **dict.fromkeys(second, recently)}, first | second)
    respond(*((customer, 1, {}) for customer in buyers(first, {"nobody": 0.2, "mail": 0.5})))
    work("experiments")
    (result,) = experiments.get(f"/v1/experiments/{key}/results").json()["metrics"]
    (effect,) = result["effects"]
    assert effect["p_value"] < 0.001
    assert (result["ended"], effect["verdict"]) == (False, "not_shown")
    assert experiments.get(f"/v1/experiments/{key}/decision").json()["verdict"] == "keep_running"


@pytest.mark.parametrize("online", [False, True], ids=["list", "online"])
def test_a_fixed_horizon_tests_money_by_replaying_the_draw(
    experiments, experiment, metric, split, respond, work, owner_engine, unique, online
):
    revenue = metric("revenue", kind="revenue", currency="EUR")
    found = experiment(metrics={"primary": revenue}, method="fixed")
    key, arms = found["key"], spread(unique, 200 if online else 1000)
    if online:
        arms = {customer: assigned(experiments, key, customer) for customer in arms}
        experiments.post(f"/v1/experiments/{key}/stop")
        with owner_engine.begin() as connection:
            connection.exec_driver_sql(
                "update experiments.assignment set t0 = %s where experiment_id = %s", (T0, found["id"])
            )
    else:
        split(key, arms)
    amounts = np.random.default_rng(2).lognormal(2, 1, 1000).round(2)
    chosen = buyers(arms, {"nobody": 0.4, "mail": 0.7})
    respond(*((customer, 1, {"value": f"{amounts[n]}"}) for n, customer in enumerate(chosen)))
    work("experiments")
    (result,) = experiments.get(f"/v1/experiments/{key}/results").json()["metrics"]
    (effect,) = result["effects"]
    draws = effect["randomisation"]["draws"]
    assert effect["p_value"] == effect["fixed"]["p_value"] == effect["randomisation"]["p_value"]
    assert effect["p_value"] * (draws + 1) / 2 == pytest.approx(round(effect["p_value"] * (draws + 1) / 2))
    assert effect["absolute"]["low"] == effect["fixed"]["low"]
    assert (effect["absolute"]["low"] > 0) == (effect["relative"]["low"] > 0)
    assert result["ended"]


def assigned(experiments, key: str, customer: str) -> str:
    """The arm an online customer gets."""
    answer = experiments.post("/v1/assign", json={"customer_id": customer, "experiments": [key]})
    return answer.json()["assignments"][0]["arm"]


def test_a_control_whose_customers_are_all_alike_is_compared(
    experiments, experiment, metric, split, respond, work, unique
):
    counted = metric("counted", kind="count")
    key = experiment(metrics={"primary": counted}, method="confidence_sequence", planned_size=2000)["key"]
    arms = spread(unique, 200)
    split(key, arms)
    again = [customer for n, (customer, arm) in enumerate(arms.items()) if arm == "mail" and n % 4 == 1]
    respond(*((customer, 1, {}) for customer in arms), *((customer, 2, {}) for customer in again))
    work("experiments")
    assert look(experiments, key)["effects"][0]["low"] is not None
    (effect,) = experiments.get(f"/v1/experiments/{key}/results").json()["metrics"][0]["effects"]
    assert effect["absolute"]["estimate"] == pytest.approx(0.5)
    assert effect["sequential"]["low"] is not None


def test_a_long_blast_is_looked_at_on_its_days_and_the_next_one_is_said(
    experiments, experiment, metric, split, respond, work, unique
):
    long, short = metric("long", window_days=60), metric("short", window_days=6)
    key = experiment(metrics={"primary": long, "secondary": [short]})["key"]
    arms = spread(unique, 800)
    split(key, arms)
    respond(*((customer, 4.5, {}) for customer in buyers(arms, {"nobody": 0.2, "mail": 0.4})))
    work("experiments")
    fifth = look(experiments, key, T0 + timedelta(days=5))
    assert [(effect["metric"], effect["look"]) for effect in fifth["effects"]] == [(long, 1), (short, 1)]
    sixth = look(experiments, key, T0 + timedelta(days=6))
    assert [(effect["look"], effect["final"]) for effect in sixth["effects"]] == [(1, False), (2, True)]
    off = experiments.post(f"/v1/experiments/{key}/looks", json={"as_of": str(T0 + timedelta(days=7))})
    assert (off.status_code, off.json()["type"]) == (409, "urn:attune:problem:nothing-to-see")
    assert "day 9, which ends at 2026-03-11T09:00:00" in off.json()["detail"]
    late = look(experiments, key, T0 + timedelta(days=61))
    assert (late["day"], late["final"], [effect["look"] for effect in late["effects"]]) == (60, True, [3, 2])


@pytest.fixture
def large(experiment, split, respond, work, unique, monkeypatch) -> str:
    """An experiment with more customers than a look is taken of while somebody waits."""
    monkeypatch.setattr(looks, "INLINE", 799)
    key, arms = experiment()["key"], spread(unique, 800)
    split(key, arms)
    respond(*((customer, 1, {}) for customer in buyers(arms, {"nobody": 0.2, "mail": 0.4})))
    work("experiments")
    return key


def test_a_look_at_many_customers_is_a_job_and_asking_again_gives_the_look(experiments, large, work):
    as_of = {"as_of": (T0 + timedelta(days=15)).isoformat()}
    accepted = experiments.post(f"/v1/experiments/{large}/looks", json=as_of)
    assert accepted.status_code == 202, accepted.text
    assert experiments.get(f"/v1/experiments/{large}/looks").json() == []
    work("experiments")
    job = experiments.get(accepted.headers["Location"]).json()
    again = experiments.post(f"/v1/experiments/{large}/looks", json=as_of)
    assert (job["state"], again.status_code) == ("succeeded", 200)
    assert [job["result"]] == experiments.get(f"/v1/experiments/{large}/looks").json() == [again.json()]


def test_a_look_that_is_cancelled_while_it_counts_is_not_taken(experiments, large, work, monkeypatch):
    as_of = {"as_of": (T0 + timedelta(days=15)).isoformat()}
    place = experiments.post(f"/v1/experiments/{large}/looks", json=as_of).headers["Location"]
    decide = looking.decide

    def cancelled_meanwhile(*given):
        assert experiments.post(f"{place}/cancel").json()["state"] == "running"
        return decide(*given)

    monkeypatch.setattr(looking, "decide", cancelled_meanwhile)
    work("experiments")
    assert experiments.get(place).json()["state"] == "cancelled"
    assert experiments.get(f"/v1/experiments/{large}/looks").json() == []


def test_looks_count_what_had_happened_by_their_day_capped_and_net_of_what_was_given_back(
    experiments, experiment, metric, target_list, split, respond, work, unique
):
    arms = spread(unique, 400)
    events = [{"event": "order"}, {"event": "refund", "sign": -1}]
    buying = metric("buying", window_days=3)
    money = metric("money", kind="revenue", events=events, cap="15", window_days=3)
    listed = target_list([(customer, "", False, {}) for customer in arms])
    key = experiment(
        target_list_id=str(listed), metrics={"primary": buying, "secondary": [money]}, method="group_sequential"
    )["key"]
    split(key, arms)
    mail, nobody = ([customer for customer, arm in arms.items() if arm == one] for one in ("mail", "nobody"))
    first, second = [*mail[:150], *nobody[:120]], [*mail[:110], *nobody[:105], mail[199]]
    back = {"kind": "refund", "value": "10", "currency": "EUR"}
    respond(
        *((customer, 0.5, {}) for customer in first),
        *((customer, 1, {}) for customer in second),
        *((customer, 2.5, back) for customer in first if customer not in second),
    )
    work("experiments")
    for day in (1, 2, 3):
        bought = {customer: 10.0 for customer in first}
        for customer in second if day > 1 else ():
            bought[customer] = min(15.0, bought.get(customer, 0.0) + 10.0)
        kept = {customer: 0.0 if day == 3 and customer not in second else value for customer, value in bought.items()}
        taken = look(experiments, key, T0 + timedelta(days=day, hours=1))["effects"]
        for effect, value in zip(taken, ({customer: 1.0 for customer in bought}, kept), strict=True):
            treated, control = (np.array([value.get(customer, 0.0) for customer in arm]) for arm in (mail, nobody))
            error = np.sqrt(treated.var(ddof=1) / 200 + control.var(ddof=1) / 200)
            assert effect["estimate"] == pytest.approx(treated.mean() - control.mean())
            assert effect["standard_error"] == pytest.approx(error)


def test_a_bound_that_was_crossed_and_not_borne_out_is_said_beside_the_small_p(
    experiments, experiment, metric, target_list, split, respond, work, unique
):
    """The control buys at once, the others three days later: by the end both have bought alike."""
    arms = spread(unique, 400)
    listed = target_list([(customer, "", False, {}) for customer in arms])
    metrics = {"primary": metric(window_days=4)}
    key = experiment(target_list_id=str(listed), metrics=metrics, method="group_sequential")["key"]
    split(key, arms)
    some = buyers(arms, {"nobody": 0.5, "mail": 0.5})
    respond(*((customer, 0.5 if arms[customer] == "nobody" else 3.5, {}) for customer in some))
    respond(*((customer, 0.5, {}) for customer in list(arms)[1:80:2]))
    work("experiments")

    def effect(day: int) -> dict:
        look(experiments, key, T0 + timedelta(days=day, hours=1))
        at = {"as_of": str(T0 + timedelta(days=day, hours=2))}
        return experiments.get(f"/v1/experiments/{key}/results", params=at).json()["metrics"][0]["effects"][0]

    said = "crossed below zero at look 1 (day 1), not borne out since"
    first, last = effect(1), effect(4)
    assert first["sequential"]["crossed"] == {"look": 1, "day": 1, "side": "below", "borne_out": True}
    assert (first["verdict"], said in first["notes"]) == ("worse", False)
    assert last["sequential"]["crossed"]["borne_out"] is False
    assert (last["verdict"], last["p_value"] <= 0.05, said in last["notes"]) == ("not_shown", True, True)
