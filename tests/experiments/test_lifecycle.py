"""The life of an experiment: what may follow what, what is frozen, and what is refused with a pointer."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from tests.experiments.conftest import ARMS, T0, created


def test_the_life_goes_from_draft_to_archive(experiments, experiment):
    key = experiment(start=False)["key"]
    for move, state in [
        ("start", "running"), ("start", "running"), ("pause", "paused"), ("start", "running"),
        ("stop", "stopped"), ("stop", "stopped"), ("archive", "archived"),
    ]:  # fmt: skip
        answer = experiments.post(f"/v1/experiments/{key}/{move}")
        assert (answer.status_code, answer.json()["state"]) == (200, state)
    for move in ("start", "pause", "stop"):
        answer = experiments.post(f"/v1/experiments/{key}/{move}")
        assert (answer.status_code, answer.json()["type"]) == (409, "urn:attune:problem:wrong-state")


def test_an_experiment_is_archived_when_its_last_window_and_the_usual_lag_have_passed(
    experiments, experiment, metric, split, respond, work, owner_engine, unique
):
    def archive(key):
        return experiments.post(f"/v1/experiments/{key}/archive")

    t0 = datetime.now(UTC).replace(microsecond=0) - timedelta(days=3)
    running, over = (experiment(name, metrics={"primary": metric(name)}) for name in ("running", "over"))
    split(running["key"], {f"{unique}-a": "mail", f"{unique}-b": "nobody"}, t0)
    split(over["key"], {f"{unique}-c": "mail", f"{unique}-d": "nobody"}, T0)
    for each in (running, over):
        assert experiments.post(f"/v1/experiments/{each['key']}/stop").status_code == 200
    assert archive(over["key"]).json()["type"] == "urn:attune:problem:still-counting"  # its customers are not counted
    work("experiments")
    assert archive(over["key"]).status_code == 200
    with owner_engine.begin() as connection:
        connection.exec_driver_sql("update experiments.position set usual_lag = '1 day'")
    answer = archive(running["key"])
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:attune:problem:still-counting")
    assert f"{t0 + timedelta(days=15):%Y-%m-%d %H:%M}" in answer.json()["detail"]
    assert experiments.get(f"/v1/experiments/{running['key']}").json()["state"] == "stopped"


def test_start_freezes_the_design_and_assigns_nobody(experiments, experiment, metric):
    key = metric("frozen")
    found = experiment(metrics={"primary": key})
    assert found["design_digest"] is not None
    assert experiments.get(f"/v1/experiments/{found['key']}/assignments").text == ""
    other = {
        "key": found["key"], "hypothesis": "A mail helps.", "metrics": {"primary": key}, "method": "group_sequential",
        "arms": [{"key": "nobody", "weight": 0.9, "control": True}, {"key": "mail", "weight": 0.1}],
    }  # fmt: skip
    answer = experiments.post("/v1/experiments", json=other)
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:attune:problem:experiment-exists")


def test_two_starts_at_once_give_one_design(experiments, experiment):
    key = experiment(start=False)["key"]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: experiments.post(f"/v1/experiments/{key}/start"), range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["started_at"] for answer in answers}) == 1
    assert len({answer.json()["design_digest"] for answer in answers}) == 1


def test_creating_twice_gives_the_same_experiment(experiments, metric, unique):
    body = {
        "key": f"twice-{unique}", "hypothesis": "h", "arms": ARMS, "metrics": {"primary": metric()},
        "planned_size": 100,
    }  # fmt: skip
    with ThreadPoolExecutor(4) as pool:
        found = [
            created(answer) for answer in pool.map(lambda _: experiments.post("/v1/experiments", json=body), range(4))
        ]
    assert len({each["id"] for each in found}) == 1
    assert experiments.get(f"/v1/experiments/{found[0]['id']}").json()["key"] == body["key"]
    assert (found[0]["method"], found[0]["arms"][1]["contact"]) == ("confidence_sequence", True)


def test_a_seed_is_drawn_unless_one_is_given_and_a_given_one_repeats_the_draw(experiments, experiment):
    drawn = [experiment(f"drawn-{n}", seed=None) for n in range(2)]
    assert len({each["seed"] for each in drawn}) == 2
    given = [experiment(f"given-{n}", seed="as elsewhere", planned_size=100, method=None) for n in range(2)]
    assert {each["seed"] for each in given} == {"as elsewhere"}

    keys = [each["key"] for each in given]
    bodies = [{"customer_id": f"seeded-{n}", "experiments": keys} for n in range(40)]
    answers = [created(experiments.post("/v1/assign", json=body))["assignments"] for body in bodies]
    assert all(one["arm"] == other["arm"] for one, other in answers)
    assert {one["arm"] for one, _ in answers} == {"nobody", "mail"}


def test_another_seed_is_another_design(experiments, experiment):
    found = experiment(seed="one", start=False)
    again = {name: found[name] for name in ("key", "hypothesis", "arms", "metrics", "method")}
    assert created(experiments.post("/v1/experiments", json=again | {"seed": "one"}))["id"] == found["id"]
    assert experiments.post("/v1/experiments", json=again | {"seed": "two"}).status_code == 409


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"arms": [{**ARMS[0], "weight": -0.5}, {**ARMS[1], "weight": 1.5}]}, "/arms/0/weight"),
        ({"arms": [{**ARMS[0], "weight": 0.5}, {**ARMS[1], "weight": 0.4}]}, "/arms"),
        ({"arms": [ARMS[0], {**ARMS[1], "control": True}]}, "/arms"),
        ({"arms": [ARMS[1], {**ARMS[1], "key": "x"}]}, "/arms"),
        ({"arms": [ARMS[0], {**ARMS[1], "key": "nobody"}]}, "/arms"),
        ({"arms": [ARMS[0]]}, "/arms"),
        ({"arms": "mail"}, "/arms"),
        ({"arms": [ARMS[0], {**ARMS[1], "cost_per_contact": "-1"}]}, "/arms/1/cost_per_contact"),
        ({"arms": [ARMS[0], {**ARMS[1], "cost_per_contact": "1e400"}]}, "/arms/1/cost_per_contact"),
        ({"alpha": 0}, "/alpha"),
        ({"alpha": "much"}, "/alpha"),
        ({"alpha": "0.05"}, "/alpha"),
        ({"arms": [{**ARMS[0], "control": "yes"}, ARMS[1]]}, "/arms/0/control"),
        ({"alpha": 0.9e-4}, "/alpha"),
        ({"metrics": {"primary": "no-such-metric"}}, "/metrics/primary"),
        ({"metrics": {"primary": "a", "secondary": ["a"]}}, "/metrics"),
        ({"seed": ""}, "/seed"),
        ({"seed": "a\0b"}, "/seed"),
        ({"key": "no spaces"}, "/key"),
        ({"key": "x" * 101}, "/key"),
        ({"key": "01958f3e-8f6a-7cc1-b1a4-6a2f6f3c9f10"}, "/key"),
        ({"name": "for ada@example.com"}, "/name"),
        ({"hypothesis": ""}, "/hypothesis"),
        ({"hypothesis": "a\x00b"}, "/hypothesis"),
        ({"planned_size": None}, "/planned_size"),
        ({"split": "exact"}, "/target_list_id"),
        ({"method": "guess"}, "/method"),
        ({"layer": "one"}, "/layer"),
        ({"unit": "household"}, "/unit"),
    ],
)
def test_a_bad_design_is_refused_at_the_field(experiments, metric, unique, change, pointer):
    body = {
        "key": f"bad-{unique}", "hypothesis": "h", "arms": ARMS, "metrics": {"primary": metric()}, "planned_size": 100,
    }  # fmt: skip
    answer = experiments.post("/v1/experiments", json=body | change)
    assert answer.status_code == 422, answer.text
    assert pointer in [error["pointer"] for error in answer.json()["errors"]]
    assert experiments.get(f"/v1/experiments/{body['key']}").status_code == 404


@pytest.mark.parametrize(
    ("given", "role", "arms", "pointer"),
    [
        ({"event": "opened"}, "primary", 1, "/metrics/primary"),
        ({"events": [{"event": "clicked"}, {"event": "opened"}]}, "primary", 2, "/metrics/primary"),
        ({"event": "clicked", "observable": "contacted"}, "primary", 1, "/metrics/primary"),
        ({"event": "clicked", "observable": "contacted"}, "primary", 2, None),
        ({"event": "unsubscribed", "observable": "contacted"}, "guardrails", 1, "/metrics/guardrails/0"),
        ({"event": "unsubscribed", "observable": "contacted"}, "guardrails", 2, None),
        ({"event": "opened", "observable": "contacted"}, "secondary", 1, None),
    ],
)
def test_a_metric_by_which_nothing_could_be_decided_is_refused_at_its_place(
    experiments, metric, unique, given, role, arms, pointer
):
    asked = metric("asked", **given)
    named = {"primary": asked} if role == "primary" else {"primary": metric(), role: [asked]}
    weight = 0.5 / arms
    mails = [{"key": f"mail-{n}", "weight": weight} for n in range(arms)]
    body = {"key": f"asks-{unique}", "hypothesis": "h", "arms": [ARMS[0], *mails], "metrics": named, "planned_size": 9}
    answer = experiments.post("/v1/experiments", json=body)
    assert [error["pointer"] for error in answer.json().get("errors", [])] == ([pointer] if pointer else [])
    assert answer.status_code == (422 if pointer else 201)


@pytest.mark.parametrize("change", [{"alpha": 1e-200}, {"metrics": "opens"}])
def test_a_draft_older_than_a_rule_is_read_and_cannot_start(experiments, experiment, metric, owner_engine, change):
    found = experiment(start=False)
    if "metrics" in change:
        change = {"metrics": {"primary": metric("opens", event="opened"), "secondary": [], "guardrails": []}}
    with owner_engine.begin() as connection:
        connection.exec_driver_sql(
            "update experiments.experiment set definition = definition || %s::jsonb where id = %s",
            (json.dumps(change), found["id"]),
        )
    assert experiments.get(f"/v1/experiments/{found['key']}").json()["alpha"] == change.get("alpha", 0.05)
    if "metrics" in change:
        body = {"key": found["key"], "hypothesis": "A mail helps.", "arms": ARMS, "seed": found["key"]}
        body |= {"method": "group_sequential", **change}
        assert created(experiments.post("/v1/experiments", json=body))["id"] == found["id"]
    answer = experiments.post(f"/v1/experiments/{found['key']}/start")
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:attune:problem:cannot-be-judged")


def test_metrics_and_experiments_are_found_by_key_or_id(experiments, experiment, metric):
    key = metric()
    first = experiments.get(f"/v1/metrics/{key}").json()
    body = {"key": key, "kind": "proportion", "event": "view", "window_days": 14}
    second = experiments.put(f"/v1/metrics/{first['id']}", json=body).json()
    assert (second["key"], second["version"]) == (key, 2)
    assert [experiments.get(f"/v1/metrics/{each['id']}").json()["version"] for each in (first, second)] == [1, 2]
    assert len(experiments.get(f"/v1/metrics/{first['id']}/versions").json()) == 2
    clash = experiments.put(f"/v1/metrics/{first['id']}", json=body | {"key": "other"})
    assert (clash.status_code, clash.json()["errors"][0]["pointer"]) == (422, "/key")

    named = {"primary": first["id"], "guardrails": [{"metric": metric("calm"), "margin": 0.1}]}
    found = experiment(metrics=named, method="confidence_sequence", planned_size=100)
    assert found["metrics"]["primary"] == key
    assert [(each["key"], each["version"]) for each in found["measured"]] == [(key, 2), (metric("calm"), 1)]
    asked = {"customer_id": f"by-id-{key}", "experiments": [found["id"], found["key"]]}
    (given,) = created(experiments.post("/v1/assign", json=asked))["assignments"]
    assert (given["experiment"], given["reason"]) == (found["key"], "assigned")
    twice = {"key": "twice", "hypothesis": "h", "arms": ARMS, "metrics": {"primary": key, "secondary": [first["id"]]}}
    answer = experiments.post("/v1/experiments", json=twice | {"planned_size": 9})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/metrics")


def test_an_unknown_list_or_campaign_is_refused_at_the_field(audience, experiments, metric, unique):
    body = {"key": f"bad-{unique}", "hypothesis": "h", "arms": ARMS, "metrics": {"primary": metric()}}
    for change, pointer in (
        ({"target_list_id": "01900000-0000-7000-8000-000000000000"}, "/target_list_id"),
        ({"campaign": f"none-{unique}", "planned_size": 10}, "/campaign"),
    ):
        answer = experiments.post("/v1/experiments", json=body | change)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"kind": "ratio"}, "/kind"),
        ({"key": "01958f3e-8f6a-7cc1-b1a4-6a2f6f3c9f10"}, "/key"),
        ({"window_days": 0}, "/window_days"),
        ({"window_days": 10**9}, "/window_days"),
        ({"event": "Order; drop table"}, "/event"),
        ({"events": [{"event": "order"}]}, ""),
        ({"margin": 0.5}, ""),
        ({"kind": "profit"}, "/margin"),
        ({"kind": "profit", "margin": 0.5, "cap": "9"}, "/cap"),
        ({"currency": "EUR"}, ""),
        ({"cap": "-1", "kind": "revenue"}, "/cap"),
        ({"where": {"category": {"is": "within_last", "value": 3}}}, "/where/category"),
        ({"where": {"category": {"is": "like", "value": "x"}}}, "/where/category/is"),
        ({"where": {"category": "jackets"}}, "/where/category"),
        ({"cuped_days": 30}, "/cuped_days"),
        ({"event": "ordre"}, "/event"),
        ({"kind": "revenue", "event": "view"}, "/event"),
        ({"kind": "revenue", "event": None, "events": [{"event": "order"}, {"event": "rated"}]}, "/events/1/event"),
        ({"event": None, "events": [{"event": "order"}, {"event": "ordre"}]}, "/events/1/event"),
        ({"where": {"color": {"is": "eq", "value": "red"}}}, "/where/color"),
        ({"where": {"category": {"is": "gt", "value": 3}}}, "/where/category/is"),
        ({"where": {"category": {"is": "in", "value": [3]}}}, "/where/category/value"),
        ({"event": None, "events": [{"event": "view", "where": {"a/b": {"is": "exists"}}}]}, "/events/0/where/a~1b"),
        ({"kind": "count", "value": "pieces"}, "/value"),
        ({"kind": "count", "value": "category"}, "/value"),
        ({"name": "orders of ada@example.com"}, "/name"),
        ({"where": {"category": {"is": "in", "value": ["x", "ada@example.com"]}}}, "/where/category/value/1"),
        (
            {
                "event": None,
                "events": [{"event": "order", "where": {"order_id": {"is": "eq", "value": "+49 170 1234567"}}}],
            },
            "/events/0/where/order_id/value",
        ),
    ],
)
def test_a_bad_metric_is_refused_at_the_field(experiments, unique, change, pointer):
    body = {"key": f"bad-{unique}", "kind": "proportion", "event": "order", "window_days": 14}
    answer = experiments.post("/v1/metrics", json=body | change)
    assert answer.status_code == 422, answer.text
    assert pointer in [error["pointer"] for error in answer.json()["errors"]]


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/v1/metrics", [], {"": "must be a JSON object"}),
        ("/v1/experiments", {"key": "a", "hypothesis": "h", "arms": ARMS, "metrics": {"primary": "b"}},
         {"/planned_size": "a confidence sequence needs a `planned_size`"}),
        ("/v1/assign", {"customer_id": "a", "attributes": []}, {"/attributes": "must be a JSON object"}),
    ],
)  # fmt: skip
def test_what_a_body_lacks_is_said_at_its_place_in_words(experiments, path, body, expected):
    answer = experiments.post(path, json=body)
    assert answer.status_code == 422, answer.text
    assert {each["pointer"]: each["detail"] for each in answer.json()["errors"]} == expected


def test_a_value_that_may_have_several_types_is_wrong_once_and_at_its_place(experiments):
    answer = experiments.post("/v1/assign", json={"customer_id": "a", "attributes": {"a": {"b": 1}}})
    assert (answer.status_code, [each["pointer"] for each in answer.json()["errors"]]) == (422, ["/attributes/a"])


def test_a_metric_that_exists_with_another_meaning_is_a_conflict(experiments, metric):
    key = metric()
    body = {"key": key, "kind": "proportion", "event": "view", "window_days": 14}
    assert experiments.post("/v1/metrics", json=body).status_code == 409
    assert experiments.put(f"/v1/metrics/{key}", json=body).json()["version"] == 2
    assert experiments.put(f"/v1/metrics/{key}", json=body).json()["version"] == 2
    assert [each["version"] for each in experiments.get(f"/v1/metrics/{key}/versions").json()] == [2, 1]


def test_experiments_are_listed_newest_first_in_pages(experiments, experiment):
    keys = [experiment(f"page{n}", start=False)["key"] for n in range(3)]
    first = experiments.get("/v1/experiments", params={"limit": 2}).json()
    assert [each["key"] for each in first["items"]] == [keys[2], keys[1]]
    second = experiments.get("/v1/experiments", params={"limit": 1, "cursor": first["next_cursor"]})
    assert second.json()["items"][0]["key"] == keys[0]
    other = experiments.get("/v1/metrics", params={"limit": 2, "cursor": first["next_cursor"]})
    assert (other.status_code, other.json()["errors"][0]["pointer"]) == (422, "#query/cursor")


def test_a_draft_has_neither_results_nor_assignments_to_make(experiments, experiment):
    key = experiment(start=False)["key"]
    assert experiments.get(f"/v1/experiments/{key}/results").status_code == 409
    assert experiments.post(f"/v1/experiments/{key}/looks").status_code == 409
    assert experiments.post(f"/v1/experiments/{key}/assignments").status_code == 409
    assert experiments.get(f"/v1/experiments/{key}/decision").status_code == 409
