"""From an experiment to a better segment: found on one half, confirmed on the other, decided by a person."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import httpx
import numpy as np
import pytest
import sqlalchemy as sa

from services.feedback import refine
from services.stack.postgres import free_port
from shared.settings import Settings
from tests.conftest import KEY, serving

Work = Callable[[str], None]
NDJSON = {"Content-Type": "application/x-ndjson"}
CUSTOMERS = 6000
PROBLEM = "urn:attune:problem:"


class World(NamedTuple):
    """A shop whose customers in the north like to be written to and whose customers in the south resent it."""

    audience: httpx.Client
    experiments: httpx.Client
    feedback: httpx.Client
    work: Work
    name: str


def test_requests_that_wait_for_a_peer_keep_nobody_else_from_the_database(
    settings: Settings, database: str, unique: str
) -> None:
    listening = socket.create_server(("127.0.0.1", 0))  # takes every call and answers none
    given = {
        "feedback_url": f"http://127.0.0.1:{free_port()}",
        "experiments_url": f"http://127.0.0.1:{listening.getsockname()[1]}",
        "database_pool": 2,
    }
    wanted = {"experiment": unique, "segment_id": unique, "metric": "orders"}

    def ask(number: int) -> int:
        return client.post("/v1/refinements", json=wanted, headers={"Idempotency-Key": str(number)}).status_code

    with (
        serving("feedback", settings.model_copy(update=given)) as url,
        httpx.Client(base_url=url, headers={"Authorization": f"Bearer {KEY}"}, timeout=30) as client,
        ThreadPoolExecutor() as pool,
    ):
        with listening:
            asked = [pool.submit(ask, number) for number in range(6)]
            time.sleep(1)
            assert client.get("/v1/kinds", timeout=5).status_code == 200
        assert {one.result() for one in asked} == {503}


def done(answer: httpx.Response) -> Any:
    assert answer.is_success, answer.text
    return answer.json()


def lines(rows: Iterator[dict[str, Any]] | list[dict[str, Any]]) -> str:
    return "\n".join(json.dumps(row) for row in rows)


@pytest.fixture
def world(audience: httpx.Client, experiments: httpx.Client, feedback: httpx.Client, work: Work, unique: str) -> World:
    return World(audience, experiments, feedback, work, f"r{unique}")


def play(world: World, *, effects: dict[str, tuple[float, float]], sent_at: str = "2024-05-01T08:00:00Z") -> str:
    """Run a campaign on everyone of this world; `effects` are response rates (control, mail) by region."""
    draw = np.random.default_rng(11)
    regions = list(effects)
    where = draw.integers(0, len(regions), CUSTOMERS)
    mailed = draw.permutation(CUSTOMERS) % 2
    responds = draw.random(CUSTOMERS) < [effects[regions[w]][m] for w, m in zip(where, mailed, strict=True)]
    names = [f"{world.name}-{n}" for n in range(CUSTOMERS)]
    region, member = f"{world.name}_region", f"{world.name}_member"
    done(world.audience.put(f"/v1/attributes/{region}", json={"type": "text"}))
    done(world.audience.put(f"/v1/attributes/{member}", json={"type": "boolean"}))
    customers = [
        {"customer_id": name, "attributes": {region: regions[w], member: True}}
        for name, w in zip(names, where, strict=True)
    ]
    done(world.audience.post("/v1/customers", content=lines(customers), headers=NDJSON))
    definition = {"attribute": member, "is": "eq", "value": True}
    done(world.audience.post("/v1/segments", json={"key": world.name, "definition": definition}))
    metric = {"key": f"{world.name}-orders", "kind": "proportion", "event": "order", "window_days": 14}
    done(world.experiments.post("/v1/metrics", json=metric))
    capped = metric | {"key": f"{world.name}-capped", "kind": "count", "cap": "1"}
    done(world.experiments.post("/v1/metrics", json=capped))
    design = {
        "key": world.name,
        "hypothesis": "Writing helps in the north.",
        "arms": [{"key": "nobody", "weight": 0.5, "control": True}, {"key": "mail", "weight": 0.5}],
        "metrics": {"primary": metric["key"], "secondary": [capped["key"]]},
        "planned_size": CUSTOMERS,
    }
    done(world.experiments.post("/v1/experiments", json=design))
    done(world.experiments.post(f"/v1/experiments/{world.name}/start"))
    rows = [
        {"customer_id": name, "arm": "mail" if m else "nobody", "assigned_at": sent_at}
        for name, m in zip(names, mailed, strict=True)
    ]
    place = f"/v1/experiments/{world.name}/assignments"
    done(world.experiments.post(place, params={"source": "external"}, content=lines(rows), headers=NDJSON))
    orders = [
        {"event_id": f"o{n}", "customer_id": name, "kind": "order", "occurred_at": sent_at, "value": "9.90"}
        for name, responded in zip(names, responds, strict=True)
        if responded
        for n in range(1 + len(name) % 3)
    ]
    done(world.feedback.post("/v1/events", content=lines(orders), headers=NDJSON))
    world.work("experiments")
    return str(metric["key"])


def search(world: World, metric: str) -> dict[str, Any]:
    asked = {"experiment": world.name, "segment_id": world.name, "metric": metric}
    answer = world.feedback.post("/v1/refinements", json=asked)
    assert answer.status_code == 202, answer.text
    world.work("feedback")
    found: dict[str, Any] = world.feedback.get("/v1/refinements", params={"experiment": world.name}).json()["items"][0]
    assert found["job"] == answer.json()["id"]
    return found


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


NORTH_LIKES_IT = {"north": (0.10, 0.40), "south": (0.35, 0.10)}
NOTHING_DIFFERS = {"north": (0.20, 0.30), "south": (0.20, 0.30)}


def test_a_confirmed_rule_is_proposed_and_accepting_it_makes_the_next_version(world: World) -> None:
    found = search(world, play(world, effects=NORTH_LIKES_IT))
    assert found["state"] == "proposed", found["verdict"]
    assert (found["proposal"], found["searched_version"]) == (1, 1)
    assert found["alpha"] == pytest.approx(6 * 0.05 / np.pi**2)
    counts = found["evidence"]["counts"]
    assert counts["comparable"]
    assert counts["audience"] == counts["rule"] == counts["cells"]
    assert found["evidence"]["target_list"] is None
    assert "no target list" in found["verdict"]
    assert f"{world.name}_region" in json.dumps(found["definition"])
    with ThreadPoolExecutor(2) as both:
        place = f"/v1/refinements/{found['id']}/accept"
        answers = list(both.map(lambda _: world.feedback.post(place), range(2)))
    assert [answer.status_code for answer in answers] == [200, 200], [answer.text for answer in answers]
    assert answers[0].json() == answers[1].json()
    assert answers[0].json()["new_version"] == 2
    segment = done(world.audience.get(f"/v1/segments/{world.name}"))
    assert segment["version"] == 2
    newest, first = done(world.audience.get(f"/v1/segments/{world.name}/versions"))["items"]
    assert (newest["evidence"]["refinement_id"], newest["evidence"]["experiment"]) == (found["id"], world.name)
    gain = found["evidence"]["gains"][0]
    assert (newest["evidence"]["gain"], newest["evidence"]["low"]) == (gain["confirm"], gain["low"])
    assert first["evidence"] is None
    preview = done(world.audience.post("/v1/segments:preview", json={"definition": {"segment": world.name}}))
    assert preview["count"] == counts["cells"]
    assert done(world.feedback.post(place))["new_version"] == 2
    refused = world.feedback.post(f"/v1/refinements/{found['id']}/reject", json={"reason": "too late"})
    assert refused.status_code == 409


def test_where_no_rule_is_better_nothing_is_proposed_and_the_next_search_may_spend_less(world: World) -> None:
    metric = play(world, effects=NOTHING_DIFFERS)
    first, second = search(world, metric), search(world, metric)
    assert (first["state"], second["state"]) == ("nothing", "nothing")
    assert first["definition"] is None
    assert second["alpha"] < first["alpha"]
    assert (first["proposal"], second["proposal"]) == (1, 2)
    assert world.feedback.post(f"/v1/refinements/{first['id']}/accept").status_code == 409


def test_a_search_waits_for_late_arrivals_as_the_results_do(
    clean: None, world: World, owner_engine: sa.Engine, event: Callable[..., dict[str, Any]]
) -> None:
    now = datetime.now(UTC)
    metric = play(world, effects=NORTH_LIKES_IT, sent_at=(now - timedelta(days=20)).isoformat())
    late = [event(n, occurred_at=(now - timedelta(days=7)).isoformat()) for n in range(10)]
    done(world.feedback.post("/v1/events", json=late))
    world.work("experiments")
    results = done(world.experiments.get(f"/v1/experiments/{world.name}/results"))
    early = search(world, metric)
    assert [arm["mature"] for arm in results["metrics"][0]["arms"]] == [0, 0]
    assert (early["state"], early["proposal"], early["evidence"]["mature"]) == ("nothing", None, 0)
    assert f"late arrivals are waited for: {late[0]['kind']} events arrive up to 7" in early["verdict"]
    with owner_engine.begin() as db:
        db.execute(sa.text("update experiments.arrival_delay set day = day - 9"))
    world.work("experiments")
    assert (found := search(world, metric))["state"] == "proposed", found["verdict"]
    assert found["evidence"]["mature"] == CUSTOMERS


def test_a_proposal_is_turned_down_with_a_reason_and_a_changed_segment_is_not_overwritten(world: World) -> None:
    metric = play(world, effects=NORTH_LIKES_IT)
    one, two = search(world, metric), search(world, metric)
    turned_down = done(world.feedback.post(f"/v1/refinements/{one['id']}/reject", json={"reason": "too few left"}))
    assert (turned_down["state"], turned_down["reason"]) == ("rejected", "too few left")
    revision = {"definition": {"attribute": f"{world.name}_region", "is": "eq", "value": "north"}}
    done(world.audience.put(f"/v1/segments/{world.name}", json=revision))
    assert world.feedback.post(f"/v1/refinements/{two['id']}/accept").status_code == 409
    assert done(world.feedback.get(f"/v1/refinements/{two['id']}"))["state"] == "proposed"
    assert done(world.audience.get(f"/v1/segments/{world.name}"))["version"] == 2


def test_no_address_is_kept_with_the_reason_of_a_decision(feedback: httpx.Client) -> None:
    reason = {"reason": "ada@example.com said no"}
    refused = feedback.post("/v1/refinements/0190a0a0-0000-7000-8000-000000000000/reject", json=reason)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/reason")


def test_what_was_accepted_cannot_be_turned_down_while_the_segment_is_being_revised(
    world: World, owner_engine: sa.Engine
) -> None:
    found = search(world, play(world, effects=NORTH_LIKES_IT))
    place = f"/v1/refinements/{found['id']}"
    with ThreadPoolExecutor(1) as other, owner_engine.begin() as holding:
        holding.execute(sa.text("select from audience.segment as s where s.key = :key for update"), {"key": world.name})
        answer = other.submit(world.feedback.post, f"{place}/accept")
        wait_for(lambda: world.feedback.get(place).json()["state"] == "accepting")
        refused = world.feedback.post(f"{place}/reject", json={"reason": "on second thoughts"})
        assert (refused.status_code, refused.json()["type"]) == (409, f"{PROBLEM}refinement-not-proposed")
        holding.rollback()
        assert done(answer.result())["state"] == "accepted"
    assert done(world.audience.get(f"/v1/segments/{world.name}"))["version"] == 2


def test_an_accept_that_broke_off_is_taken_up_by_repeating_it(world: World, owner_engine: sa.Engine) -> None:
    found = search(world, play(world, effects=NORTH_LIKES_IT))
    place = f"/v1/refinements/{found['id']}"
    done(world.feedback.post(f"{place}/accept"))
    cut_off = "update feedback.refinement set state = 'accepting', new_version = null where id = :id"
    with owner_engine.begin() as db:
        db.execute(sa.text(cut_off), {"id": found["id"]})
    assert (done(world.feedback.post(f"{place}/accept"))["new_version"]) == 2
    assert done(world.audience.get(f"/v1/segments/{world.name}"))["version"] == 2


@pytest.mark.parametrize("state", ["proposed", "accepting"])
@pytest.mark.parametrize("unusable", ["evidence = '{}'", """definition = '{"region": "north"}'"""])
def test_a_proposal_that_cannot_be_made_a_version_waits_for_a_decision_again(
    feedback: httpx.Client, owner_engine: sa.Engine, unique: str, state: str, unusable: str
) -> None:
    proposed = sa.text("""
        insert into feedback.refinement
               (id, experiment, segment_id, metric, state, definition, evidence, alpha, searched_version, created_at)
        values (gen_random_uuid(), :name, :name, 'orders', :state, '{"attribute": "a", "is": "present"}',
                '{"gains": [{"confirm": 1, "low": 0.5, "shrunken": 0.8}]}', 0.05, 1, now())
     returning id
    """)
    with owner_engine.begin() as db:
        found = db.execute(proposed, {"name": unique, "state": state}).scalar_one()
        db.execute(sa.text(f"update feedback.refinement set {unusable} where id = :id").bindparams(id=found))
    place = f"/v1/refinements/{found}"
    refused = feedback.post(f"{place}/accept")
    assert (refused.status_code, refused.json()["type"]) == (409, f"{PROBLEM}refinement-outdated")
    assert done(feedback.get(place))["state"] == "proposed"
    turned_down = feedback.post(f"{place}/reject", json={"reason": "it cannot be made"})
    assert done(turned_down)["state"] == "rejected"


def test_a_capped_metric_counts_a_customer_up_to_its_cap(world: World) -> None:
    metric = play(world, effects=NORTH_LIKES_IT)
    once, capped = search(world, metric), search(world, f"{world.name}-capped")
    first, second = (found["evidence"]["gains"][0] for found in (once, capped))
    assert second["confirm"] == pytest.approx(first["confirm"])
    assert second["standard_error"] == pytest.approx(first["standard_error"])


def test_a_rule_whose_words_keep_others_than_it_was_confirmed_for_is_not_proposed(
    world: World, owner_engine: sa.Engine
) -> None:
    metric = play(world, effects={"1": NORTH_LIKES_IT["north"], "2": NORTH_LIKES_IT["south"]})
    region = f"{world.name}_region"
    with owner_engine.begin() as db:  # some have the number where the others have the text: the rule compares texts
        db.execute(
            sa.text("""
                update experiments.assignment as a
                   set features = a.features || jsonb_build_object(r.name, cast(a.features ->> r.name as integer))
                  from experiments.experiment as x, cast(:region as text) as r (name)
                 where x.id = a.experiment_id and x.key = :key and a.customer_id like '%00'
            """),
            {"region": region, "key": world.name},
        )
    found = search(world, metric)
    assert (found["state"], found["definition"]) == ("nothing", None), found["verdict"]
    assert found["evidence"]["counts"]["rule"] != found["evidence"]["counts"]["cells"]
    assert "as it is worded" in found["verdict"]


def test_a_search_that_is_cancelled_or_breaks_shows_it(world: World, owner_engine: sa.Engine) -> None:
    wanted = {
        "experiment": world.name,
        "segment_id": world.name,
        "metric": play(world, effects=NOTHING_DIFFERS),
    }
    job = world.feedback.post("/v1/refinements", json=wanted).json()["id"]
    done(world.feedback.post(f"/v1/jobs/{job}/cancel"))
    assert newest(world)["state"] == "cancelled"
    assert world.feedback.post("/v1/refinements", json=wanted).status_code == 202
    with owner_engine.begin() as db:  # a bug: what cannot be read
        broken = "update feedback.refinement set metric = 'unknown' where state = 'searching' and experiment = :key"
        db.execute(sa.text(broken), {"key": world.name})
    world.work("feedback")
    found = newest(world)
    assert (found["state"], found["verdict"].split()[0]) == ("failed", "Experiment"), found


def test_a_search_that_is_cancelled_while_it_runs_spends_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    metric = play(world, effects=NOTHING_DIFFERS)
    job: dict[str, Any] = {}
    whole = refine.refine

    def cancelled_meanwhile(*given: Any) -> Any:
        job.update(done(world.feedback.post(f"/v1/jobs/{newest(world)['job']}/cancel")))
        return whole(*given)

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(refine, "refine", cancelled_meanwhile)
        found = search(world, metric)
    assert (job["state"], job["progress"]) == ("running", 0.6)
    assert (found["state"], found["verdict"], found["evidence"]) == ("cancelled", "It was cancelled.", {})
    assert found["proposal"] is None
    assert search(world, metric)["proposal"] == 1


def newest(world: World) -> dict[str, Any]:
    found: dict[str, Any] = world.feedback.get("/v1/refinements", params={"experiment": world.name}).json()["items"][0]
    return found


def test_an_experiment_with_a_list_speaks_of_that_version_of_that_segment_alone(world: World) -> None:
    metric = play(world, effects=NOTHING_DIFFERS)
    consents = [{"channel": "email", "purpose": "marketing", "state": "granted", "source": "test"}]
    points = [{"channel": "email", "handle": "h"}]
    reachable = [
        {"customer_id": f"{world.name}-{n}", "consents": consents, "contact_points": points} for n in range(10)
    ]
    done(world.audience.post("/v1/customers", content=lines(reachable), headers=NDJSON))
    definition = {"attribute": f"{world.name}_member", "is": "exists"}
    other = f"{world.name}-other"
    done(world.audience.post("/v1/segments", json={"key": other, "definition": definition}))
    asked = {"name": world.name, "segment_id": world.name, "channel": "email", "purpose": "marketing"}
    drawn = done(world.audience.post("/v1/target-lists", json=asked))
    design = {
        "key": f"{world.name}-listed",
        "hypothesis": "Writing helps in the north.",
        "arms": [{"key": "nobody", "weight": 0.5, "control": True}, {"key": "mail", "weight": 0.5}],
        "metrics": {"primary": metric},
        "target_list_id": drawn["id"],
    }
    done(world.experiments.post("/v1/experiments", json=design))
    wanted = {"experiment": design["key"], "segment_id": world.name, "metric": metric}
    stranger = world.feedback.post("/v1/refinements", json=wanted | {"segment_id": other})
    assert (stranger.status_code, stranger.json()["errors"][0]["pointer"]) == (422, "/segment_id")
    key = {"Idempotency-Key": world.name}
    first = world.feedback.post("/v1/refinements", json=wanted, headers=key)
    assert first.status_code == 202
    done(world.audience.put(f"/v1/segments/{world.name}", json={"definition": definition}))
    passed = world.feedback.post("/v1/refinements", json=wanted)
    assert (passed.status_code, passed.json()["type"]) == (409, f"{PROBLEM}segment-version-passed")
    assert done(world.feedback.post("/v1/refinements", json=wanted, headers=key))["id"] == first.json()["id"]
    other_body = wanted | {"metric": "another"}
    assert world.feedback.post("/v1/refinements", json=other_body, headers=key).status_code == 409


def test_what_does_not_exist_is_refused_before_anything_is_searched(world: World) -> None:
    metric = play(world, effects=NOTHING_DIFFERS)
    good = {"experiment": world.name, "segment_id": world.name, "metric": metric}
    for changed, status in (({"experiment": "no-such"}, 404), ({"segment_id": "no-such"}, 404), ({"metric": "x"}, 422)):
        assert world.feedback.post("/v1/refinements", json=good | changed).status_code == status
    assert world.feedback.get("/v1/refinements", params={"experiment": world.name}).json()["items"] == []


def test_scores_reach_the_portraits(clean: None, world: World, event: Callable[..., dict[str, Any]]) -> None:
    done(world.feedback.post("/v1/events", json=[event(n, value=n + 1) for n in range(10)]))
    done(world.feedback.post("/v1/models/rfm", json={"as_of": "2024-05-11T12:00:00Z"}))
    world.work("feedback")
    run = done(world.feedback.get("/v1/models"))["items"][0]
    assert (run["state"], run["customers"]) == ("delivered", 10)
    portrait = done(world.audience.get(f"/v1/customers/{event(9)['customer_id']}"))
    traits = {name: trait["value"] for name, trait in portrait["traits"].items()}
    assert traits["rfm_monetary"] == 10
    assert (traits["rfm_recency_days"], traits["rfm_monetary_score"]) == (10, 5)
    assert portrait["traits"]["rfm_segment"]["computed_at"] == "2024-05-11T12:00:00Z"
