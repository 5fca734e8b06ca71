"""Two callers who do the same at the same moment: one wins, the other gets 409 or the same answer."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import httpx
import pytest

CALLERS = 4
NDJSON = {"Content-Type": "application/x-ndjson"}


def at_once(call: Callable[[], httpx.Response]) -> list[httpx.Response]:
    barrier = Barrier(CALLERS)

    def together(_: int) -> httpx.Response:
        barrier.wait()
        return call()

    with ThreadPoolExecutor(CALLERS) as pool:
        return list(pool.map(together, range(CALLERS)))


def agreed(answers: list[httpx.Response]) -> dict[str, object]:
    """The one answer that every success gave; the others are conflicts."""
    statuses = {answer.status_code for answer in answers}
    assert statuses <= {200, 201, 409}, [answer.text for answer in answers]
    bodies = {answer.text for answer in answers if answer.is_success}
    assert len(bodies) == 1, bodies
    found: dict[str, object] = json.loads(bodies.pop())
    return found


@pytest.fixture
def city(audience: httpx.Client, unique: str) -> str:
    """A segment of 50 customers who agreed to e-mail."""
    name = f"city_{unique}"
    audience.put(f"/v1/attributes/{name}", json={"type": "text"}).raise_for_status()
    rows = [
        {
            "customer_id": f"{unique}-{number}",
            "attributes": {name: "Lyon"},
            "contact_points": [{"channel": "email", "handle": f"h{number}"}],
            "consents": [{"channel": "email", "purpose": "marketing", "state": "granted", "source": "shop"}],
        }
        for number in range(50)
    ]
    body = "\n".join(json.dumps(row) for row in rows)
    audience.post("/v1/customers", content=body, headers=NDJSON).raise_for_status()
    definition = {"attribute": name, "is": "eq", "value": "Lyon"}
    audience.post("/v1/segments", json={"key": unique, "definition": definition}).raise_for_status()
    return unique


def new_list(city: str, name: str) -> dict[str, object]:
    return {"name": name, "segment_id": city, "channel": "email", "purpose": "marketing", "holdout_share": 0.2}


def test_list_builds(audience: httpx.Client, city: str) -> None:
    found = agreed(at_once(lambda: audience.post("/v1/target-lists", json=new_list(city, f"list-{city}"))))
    assert (found["count"], found["held_out"]) == (40, 10)


def test_list_builds_with_an_idempotency_key_all_get_the_same_list(audience: httpx.Client, city: str) -> None:
    headers = {"Idempotency-Key": f"build-{city}"}
    body = new_list(city, f"keyed-{city}")
    answers = at_once(lambda: audience.post("/v1/target-lists", json=body, headers=headers))
    assert {answer.status_code for answer in answers} == {201}
    agreed(answers)


def test_starts_and_assignments(
    audience: httpx.Client, experiments: httpx.Client, city: str, work: Callable[[str], None]
) -> None:
    built = audience.post("/v1/target-lists", json=new_list(city, f"for-{city}")).json()
    metric = {"key": f"orders-{city}", "kind": "count", "event": "order", "window_days": 1}
    experiments.post("/v1/metrics", json=metric).raise_for_status()
    design = {
        "key": city, "hypothesis": "Once is enough.", "metrics": {"primary": f"orders-{city}"}, "split": "exact",
        "target_list_id": built["id"],
        "arms": [{"key": "control", "weight": 0.5, "control": True}, {"key": "mail", "weight": 0.5}],
    }  # fmt: skip
    experiments.post("/v1/experiments", json=design).raise_for_status()
    assert agreed(at_once(lambda: experiments.post(f"/v1/experiments/{city}/start")))["state"] == "running"
    answers = at_once(lambda: experiments.post(f"/v1/experiments/{city}/assignments", json={}))
    assert {answer.status_code for answer in answers} <= {200, 201, 409}, [answer.text for answer in answers]
    assert sum(answer.json()["new"] for answer in answers if answer.is_success) == built["count"]
    shown = experiments.get(f"/v1/experiments/{city}/assignments").text.splitlines()
    arms = [json.loads(line)["arm"] for line in shown]
    assert (arms.count("control"), arms.count("mail")) == (20, 20)
