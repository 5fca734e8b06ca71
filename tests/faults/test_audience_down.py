"""With audience away, what needs only Postgres goes on, what needs audience says so, and work resumes."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import pytest

from tests.faults.installation import Installation, installation

NDJSON = {"Content-Type": "application/x-ndjson"}


@pytest.fixture(scope="module")
def without_audience() -> Iterator[Installation]:
    """Three customers who agreed to e-mail, a list of them, and then audience dies."""
    with installation() as made:
        made.start("audience", "experiments", "feedback")
        prepare(made.client("audience"))
        made.kill("audience")
        yield made


def prepare(audience: httpx.Client) -> None:
    audience.put("/v1/attributes/city", json={"type": "text"}).raise_for_status()
    row = (
        '{"customer_id": "c%d", "attributes": {"city": "Lyon"}, "identities": {"email": "c%d@example.org"},'
        ' "consents": [{"channel": "email", "purpose": "marketing", "state": "granted", "source": "shop"}]}'
    )
    rows = "\n".join(row % (number, number) for number in range(3))
    audience.post("/v1/customers", content=rows, headers=NDJSON).raise_for_status()
    segment = {"key": "lyon", "definition": {"attribute": "city", "is": "eq", "value": "Lyon"}}
    audience.post("/v1/segments", json=segment).raise_for_status()
    new = {"name": "first", "segment_id": "lyon", "channel": "email", "purpose": "marketing"}
    built = audience.post("/v1/target-lists", json=new)
    built.raise_for_status()
    assert built.json()["count"] == 3


def event(kind: str, customer: str, **more: object) -> dict[str, object]:
    return {
        "event_id": f"{kind}-{customer}", "customer_id": customer, "kind": kind,
        "occurred_at": datetime.now(UTC).isoformat(), **more,
    }  # fmt: skip


def test_ingest_goes_on(without_audience: Installation) -> None:
    orders = [event("order", f"c{number}", value="5.00", currency="EUR") for number in range(3)]
    answer = without_audience.client("feedback").post("/v1/events", json=orders)
    assert answer.json()["accepted"] == 3


def test_calls_that_need_audience_say_so_and_ready_services_stay_ready(without_audience: Installation) -> None:
    client = without_audience.client("experiments")
    client.post("/v1/metrics", json={"key": "orders", "kind": "count", "event": "order", "window_days": 1})
    design = {
        "key": "needs-a-list", "hypothesis": "It works.", "metrics": {"primary": "orders"},
        "target_list_id": "01900000-0000-7000-8000-000000000000",
        "arms": [{"key": "control", "weight": 0.5, "control": True}, {"key": "mail", "weight": 0.5}],
    }  # fmt: skip
    answer = client.post("/v1/experiments", json=design)
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert int(answer.headers["retry-after"]) > 0
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()["peers"]) == (200, {"audience": "away"})


def test_an_unsubscribe_is_in_force_before_the_call_returns(without_audience: Installation) -> None:
    """Nothing but Postgres takes part: audience is down when it arrives, and knows it from its first answer on."""
    unsubscribed = event("unsubscribed", "c1", properties={"channel": "email"})
    answer = without_audience.client("feedback").post("/v1/events", json=unsubscribed)
    assert answer.json()["accepted"] == 1
    without_audience.revive("audience")  # and no worker of audience has ever run
    check = {"customer_ids": ["c0", "c1"], "channel": "email", "purpose": "marketing"}
    checks = without_audience.client("audience").post("/v1/send-checks", json=check).json()["checks"]
    assert [(each["customer_id"], each["sendable"], each["reason"]) for each in checks] == [
        ("c0", True, None),
        ("c1", False, "not permitted"),
    ]
    new = {"name": "second", "segment_id": "lyon", "channel": "email", "purpose": "marketing"}
    assert without_audience.client("audience").post("/v1/target-lists", json=new).json()["count"] == 2
    without_audience.kill("audience")


def test_work_that_needs_audience_resumes_when_it_is_back(without_audience: Installation) -> None:
    feedback = without_audience.client("feedback")
    without_audience.start("feedback worker")
    job = feedback.post("/v1/models/rfm", json={"kind": "order"}).json()["id"]
    end = time.monotonic() + 30
    while "Waiting" not in str(feedback.get(f"/v1/jobs/{job}").json()["problem"]):
        assert time.monotonic() < end, feedback.get(f"/v1/jobs/{job}").text
        time.sleep(0.1)
    without_audience.revive("audience")
    end = time.monotonic() + 60
    while feedback.get(f"/v1/jobs/{job}").json()["state"] != "succeeded":
        assert time.monotonic() < end, feedback.get(f"/v1/jobs/{job}").text
        time.sleep(0.2)
    portrait = without_audience.client("audience").get("/v1/customers/c0").json()
    assert any(name.startswith("rfm") for name in portrait["traits"])
