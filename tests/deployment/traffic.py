"""A little of everything that moves the metrics: customers, a list, an experiment, events good and bad."""

import json
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx

from tests.deployment.running import SECRETS, Running

NDJSON = {"Content-Type": "application/x-ndjson"}
CUSTOMERS = [f"customer-{number}" for number in range(200)]


def client(running: Running, name: str) -> httpx.Client:
    key = SECRETS["ATTUNE_BOOTSTRAP_KEY"]
    return httpx.Client(base_url=running.url(name), headers={"Authorization": f"Bearer {key}"}, timeout=60)


def done(http: httpx.Client, answer: httpx.Response) -> dict[str, Any]:
    """The answer's content; for long work, the result once the worker has done it."""
    assert answer.is_success, answer.text
    if answer.status_code != httpx.codes.ACCEPTED:
        return dict(answer.json())
    end = time.monotonic() + 60
    while time.monotonic() < end:
        job = http.get(answer.headers["Location"]).json()
        if job["state"] == "succeeded":
            return dict(job["result"])
        assert job["state"] in ("queued", "running"), job
        time.sleep(0.2)
    raise AssertionError("the worker did not do the job")


def lines(rows: Iterable[Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def build_list(running: Running, unique: str) -> str:
    """Customers who may be written to, a segment of them, a campaign, a frozen list; the list's id."""
    with client(running, "audience") as http:
        done(http, http.put("/v1/attributes/country", json={"type": "text"}))
        rows = [
            {
                "customer_id": customer,
                "attributes": {"country": "PT"},
                "consents": [{"channel": "email", "purpose": "marketing", "state": "granted", "source": "shop"}],
                "contact_points": [{"channel": "email", "handle": f"handle-{customer}"}],
            }
            for customer in CUSTOMERS
        ]
        done(http, http.post("/v1/customers", content=lines(rows), headers=NDJSON))
        definition = {"all": [{"attribute": "country", "is": "eq", "value": "PT"}]}
        done(http, http.post("/v1/segments", json={"key": f"portugal-{unique}", "definition": definition}))
        campaign = {"key": f"spring-{unique}", "name": "Spring", "channel": "email", "purpose": "marketing"}
        done(http, http.post("/v1/campaigns", json=campaign))
        wanted = {"name": f"list-{unique}", "segment_id": f"portugal-{unique}", "campaign": f"spring-{unique}"}
        built = done(http, http.post("/v1/target-lists", json=wanted))
        assert built["count"] == len(CUSTOMERS)
        return str(built["id"])


def run_experiment(running: Running, unique: str, target_list: str) -> None:
    with client(running, "experiments") as http:
        metric = {"key": f"orders-{unique}", "kind": "proportion", "event": "order", "window_days": 7}
        done(http, http.post("/v1/metrics", json=metric))
        arms = [{"key": "control", "weight": 0.5, "control": True}, {"key": "mail", "weight": 0.5}]
        design = {
            "key": f"spring-{unique}",
            "hypothesis": "A mail in spring brings orders.",
            "target_list_id": target_list,
            "arms": arms,
            "metrics": {"primary": f"orders-{unique}"},
        }
        done(http, http.post("/v1/experiments", json=design))
        done(http, http.post(f"/v1/experiments/spring-{unique}/start"))
        assigned = done(http, http.post(f"/v1/experiments/spring-{unique}/assignments", json={}))
        assert assigned["assigned"] == len(CUSTOMERS)


def send_events(running: Running) -> None:
    """Through each door: new events, the same ones again, one with other content, and what is no event."""
    moment = datetime.now(UTC) - timedelta(minutes=5)

    def view(customer: str, event_id: str, minutes: int = 0) -> dict[str, Any]:
        at = (moment + timedelta(minutes=minutes)).isoformat()
        return {"event_id": event_id, "customer_id": customer, "kind": "view", "occurred_at": at}

    with client(running, "feedback") as http:
        stamp = uuid4().hex
        events = [view(customer, f"{stamp}-{customer}") for customer in CUSTOMERS]
        for content in (events, events, [view(CUSTOMERS[0], f"{stamp}-{CUSTOMERS[0]}", 1)], [{"kind": "view"}]):
            assert http.post("/v1/events", json=content).status_code < 500
        for content in (lines(view(c, f"{stamp}-n-{c}") for c in CUSTOMERS), "{}\n"):
            assert http.post("/v1/events", content=content, headers=NDJSON).status_code < 500


def ask(running: Running) -> None:
    """Calls that are answered, and some that are refused."""
    for name in ("audience", "experiments", "feedback"):
        with client(running, name) as http:
            for path in ("/v1/jobs", f"/v1/jobs/{uuid4()}", "/nothing-here"):
                assert http.get(path).status_code < 500
