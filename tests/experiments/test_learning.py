"""Whom contact moves, what a policy earns, and the page that shows it all."""

from datetime import UTC, datetime
from functools import partial

import numpy as np
import pytest
import sqlalchemy as sa

from services.experiments.actions import reporting
from shared.clients.audience import AudienceClient
from shared.db import read_only
from tests.conftest import KEY
from tests.experiments.conftest import ARMS, T0


@pytest.fixture
def learnt(audience, experiments, experiment, metric, target_list, respond, work, unique):
    """Two thousand customers of whom only the young are moved by a mail that costs money."""
    rng = np.random.default_rng(3)
    members = [(f"{unique}-{n:04d}", "", False, {"age": 20 + n % 50, "city": "LP"[n % 2]}) for n in range(2000)]
    profit = metric("profit", kind="profit", currency="EUR", margin=0.5)
    found = experiment(
        target_list_id=str(target_list(members)),
        split="exact",
        metrics={
            "primary": metric("orders"),
            "secondary": [profit, metric("capped", kind="revenue", currency="EUR", cap="4")],
        },
        arms=[ARMS[0], {**ARMS[1], "cost_per_contact": "0.50"}],
    )
    run = experiments.post(f"/v1/experiments/{found['key']}/assignments", json={"t0": T0.isoformat()})
    assert run.json()["assigned"] == 2000
    lines = experiments.get(f"/v1/experiments/{found['key']}/assignments", headers={"Accept": "text/csv"}).text
    arms = dict(line.split(",")[:2] for line in lines.splitlines()[1:])
    chosen = [
        customer
        for customer, _, _, features in members
        if rng.random() < (0.5 if arms[customer] == "mail" and features["age"] < 40 else 0.1)
    ]
    respond(*((customer, 1, {"value": "5"}) for customer in chosen))
    work("experiments")
    return found["key"]


def test_uplift_finds_the_feature_that_decides(experiments, learnt):
    found = experiments.get(f"/v1/experiments/{learnt}/uplift").json()
    assert found["winner"] is not None
    assert "weighted by inverse probability" in found["definition"]  # as it is computed, not in general
    assert found["importances"][0]["feature"] == "age"
    assert found["grown_on"] + found["held_out"] == 2000
    assert len({each["learner"] for each in found["learners"]}) == 2
    winner = next(each for each in found["learners"] if each["learner"] == found["winner"])
    assert winner["rate"]["estimate"] > 0


def test_contacting_only_the_moved_beats_contacting_everybody(experiments, learnt):
    found = experiments.get(f"/v1/experiments/{learnt}/policy").json()
    values = {each["policy"]: each["value"]["estimate"] for each in found["policies"]}
    assert values["learned"] > values["contact_all"]
    assert values["contact_none"] == 0
    assert 0.2 <= found["best_share"] <= 0.6
    assert found["curve"][-1]["share"] == 1


def test_profit_learnt_from_is_the_profit_of_the_results(experiments, learnt):
    results = experiments.get(f"/v1/experiments/{learnt}/results").json()
    (shown,) = next(each for each in results["metrics"] if each["kind"] == "profit")["effects"]
    effect = experiments.get(f"/v1/experiments/{learnt}/uplift").json()["average_effect"]
    # adjusted for features the mean moves by less than a standard error; the contact's cost is ten of them
    assert effect["estimate"] == pytest.approx(shown["absolute"]["estimate"], abs=shown["standard_error"])
    policies = experiments.get(f"/v1/experiments/{learnt}/policy").json()["policies"]
    everyone = next(each["value"] for each in policies if each["policy"] == "contact_all")
    assert everyone["low"] < shown["absolute"]["estimate"] < everyone["high"]


def test_what_is_learnt_of_a_capped_metric_is_the_effect_of_the_results(experiments, learnt):
    results = experiments.get(f"/v1/experiments/{learnt}/results").json()
    measured = next(each for each in results["metrics"] if each["metric"].startswith("capped"))
    (shown,) = measured["effects"]
    params = {"metric": measured["metric"]}
    effect = experiments.get(f"/v1/experiments/{learnt}/uplift", params=params).json()["average_effect"]
    assert effect["estimate"] == pytest.approx(shown["absolute"]["estimate"], abs=shown["standard_error"])


def test_whom_contact_moves_is_not_asked_of_what_the_control_cannot_show(
    experiments, experiment, metric, split, unique
):
    clicked = metric("clicked", event="clicked", observable="contacted")
    mails = [{"key": key, "weight": 0.25} for key in ("a", "b")]
    key = experiment(arms=[ARMS[0], *mails], metrics={"primary": metric(), "secondary": [clicked]})["key"]
    split(key, {f"{unique}-{arm}": arm for arm in ("nobody", "a", "b")})
    number = experiments.get(f"/v1/metrics/{clicked}").json()["id"]
    for call, name in (("uplift", clicked), ("policy", number)):
        answer = experiments.get(f"/v1/experiments/{key}/{call}", params={"metric": name})
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "#query/metric")
        assert "cannot be learnt" in answer.json()["detail"]
    key = experiment("primary", arms=[ARMS[0], *mails], metrics={"primary": clicked})["key"]
    assert "Whom to contact" not in experiments.get(f"/v1/experiments/{key}/report").text


def test_profit_has_no_price(experiments, learnt):
    answer = experiments.get(f"/v1/experiments/{learnt}/policy", params={"value": "2"})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "#query/value")


def test_what_was_learnt_is_learnt_again_only_from_other_data(experiments, learnt, owner_engine, respond, work):
    address = f"/v1/experiments/{learnt}/uplift"
    before = experiments.get(address).json()
    forget = sa.text("""
        update experiments.assignment as a set features = '{}'
          from experiments.experiment as x
         where x.key = :key and x.id = a.experiment_id
     returning a.customer_id
    """)
    with owner_engine.begin() as connection:  # behind the product's back, to see who reads them again
        customer = connection.execute(forget, {"key": learnt}).scalars().first()
    work("experiments")
    assert {**experiments.get(address).json(), "as_of": None} == {**before, "as_of": None}
    respond((customer, 2, {"value": "5"}))
    work("experiments")
    assert experiments.get(address).json()["importances"] == []


def test_the_page_counts_the_results_once(audience, experiments_engine, learnt):
    counted = []

    def seen(connection, cursor, statement, *rest):
        counted.append("as mean_cube" in statement)

    sa.event.listen(experiments_engine, "before_cursor_execute", seen)
    try:
        reporting.page(partial(read_only, experiments_engine), AudienceClient(audience), learnt)
    finally:
        sa.event.remove(experiments_engine, "before_cursor_execute", seen)
    assert sum(counted) == 1


def test_another_arm_or_metric_is_refused_at_the_parameter(experiments, learnt):
    for query, pointer in (({"arm": "nobody"}, "#query/arm"), ({"metric": "else"}, "#query/metric")):
        answer = experiments.get(f"/v1/experiments/{learnt}/uplift", params=query)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)
    assert experiments.get(f"/v1/experiments/{learnt}/policy", params={"value": "nan"}).status_code == 422


def test_the_report_opens_in_a_browser_with_the_key_as_password(experiments, learnt):
    experiments.post(f"/v1/experiments/{learnt}/looks")
    address = f"/v1/experiments/{learnt}/report"
    without = experiments.get(address, headers={"Authorization": ""})
    assert (without.status_code, without.headers["www-authenticate"]) == (401, 'Basic realm="attune"')
    page = experiments.get(address, auth=("anybody", KEY), headers={"Authorization": ""})
    assert page.status_code == 200, page.text
    assert page.headers["content-type"].startswith("text/html")
    assert learnt in page.text
    assert "<script" not in page.text


def test_before_any_window_has_closed_there_is_nothing_to_learn(experiments, experiment, split, work, unique):
    key = experiment()["key"]
    split(key, {f"{unique}-a": "mail", f"{unique}-b": "nobody"}, datetime.now(UTC))
    work("experiments")
    answer = experiments.get(f"/v1/experiments/{key}/uplift")
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:attune:problem:not-yet")
    assert experiments.get(f"/v1/experiments/{key}/report").status_code == 200
