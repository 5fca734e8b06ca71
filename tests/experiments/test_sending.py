"""The sending list: permission as of now, nobody held out, nobody whom no arm contacts."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from tests.conftest import KEY, free_port, serving
from tests.experiments.conftest import created, ndjson

NDJSON = {"Content-Type": "application/x-ndjson"}


@pytest.fixture
def campaign(audience, unique):
    """Two hundred reachable, permitted customers, a campaign and a list with a holdout: (list, send_at)."""
    send_at = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    created(audience.put(f"/v1/attributes/wave_{unique}", json={"type": "text"}))
    rows = [
        {
            "customer_id": f"{unique}-{n:03d}",
            "attributes": {f"wave_{unique}": "one"},
            "contact_points": [{"channel": "email", "handle": f"h{n}"}],
            "consents": [{"channel": "email", "purpose": "marketing", "state": "granted", "source": "form"}],
        }
        for n in range(200)
    ]
    report = created(audience.post("/v1/customers", content=ndjson(rows), headers=NDJSON))
    assert report["accepted"] == 200
    definition = {"attribute": f"wave_{unique}", "is": "eq", "value": "one"}
    segment = created(audience.post("/v1/segments", json={"key": f"wave-{unique}", "definition": definition}))
    created(
        audience.post(
            "/v1/campaigns",
            json={
                "key": f"mailing-{unique}", "name": "Mailing", "channel": "email", "purpose": "marketing",
                "send_at": send_at.isoformat(),
            },
        )
    )  # fmt: skip
    wanted = {
        "name": f"list-{unique}", "campaign": f"mailing-{unique}", "segment_id": segment["id"], "holdout_share": 0.2,
    }  # fmt: skip
    return created(audience.post("/v1/target-lists", json=wanted)), send_at


@pytest.fixture
def sent(experiments, experiment, campaign):
    """A running experiment whose list has its arms: (key, list, arms by customer)."""
    found, send_at = campaign
    key = experiment("send", target_list_id=found["id"], split="exact")["key"]
    run = experiments.post(f"/v1/experiments/{key}/assignments")
    assert run.status_code == 201, run.text
    assert datetime.fromisoformat(run.json()["t0"]) == send_at
    assert run.json()["list_digest"] == found["digest"]
    lines = experiments.get(f"/v1/experiments/{key}/assignments").text.splitlines()
    return key, found, {row["customer_id"]: row["arm"] for row in map(json.loads, lines)}


def sending(experiments, key: str) -> list[dict]:
    answer = experiments.get(f"/v1/experiments/{key}/assignments", params={"contact": True})
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def test_only_contacted_arms_are_sent_to_and_nobody_held_out(experiments, audience, sent):
    key, found, arms = sent
    rows = sending(experiments, key)
    assert {row["customer_id"] for row in rows} == {customer for customer, arm in arms.items() if arm == "mail"}
    assert {json.dumps(row["payload"]) for row in rows} == {'{"template": "jackets"}'}
    members = audience.get(f"/v1/target-lists/{found['id']}/members", params={"limit": 1000}).text
    assert len(arms) == found["count"] == 160
    assert found["held_out"] == 40, members[:200]
    assert {row["target_list"] for row in rows} == {found["id"]}


def test_who_withdrew_a_moment_ago_is_not_sent_to(experiments, audience, sent, unique):
    key, _, arms = sent
    gone = next(customer for customer, arm in sorted(arms.items()) if arm == "mail")
    refusal = {"purpose": "marketing", "state": "withdrawn", "source": "link"}
    assert audience.put(f"/v1/customers/{gone}/consents/email", json=refusal).status_code in (200, 201)
    rows = sending(experiments, key)
    assert gone not in {row["customer_id"] for row in rows}
    assert len(rows) == 79
    assert arms[gone] == "mail"  # still assigned: analysis is by intention to treat


def test_the_sending_list_comes_as_csv_too(experiments, sent):
    key, _, _ = sent
    answer = experiments.get(
        f"/v1/experiments/{key}/assignments", params={"contact": True}, headers={"Accept": "text/csv"}
    )
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert len(rows) == 80
    assert json.loads(rows[0]["payload"]) == {"template": "jackets"}


def test_yes_and_no_are_written_in_csv_as_every_door_reads_them(experiments, sent):
    key, _, _ = sent
    answer = experiments.get(f"/v1/experiments/{key}/assignments", headers={"Accept": "text/csv"})
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert {row["contact"] for row in rows} == {row["control"] for row in rows} == {"true", "false"}


def test_what_is_not_running_is_not_sent(experiments, sent):
    key, _, _ = sent
    experiments.post(f"/v1/experiments/{key}/pause")
    answer = experiments.get(f"/v1/experiments/{key}/assignments", params={"contact": True})
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:attune:problem:wrong-state")


def test_without_audience_there_is_no_sending_list_and_never_an_empty_one(settings, sent):
    key, _, _ = sent
    alone = settings.model_copy(
        update={
            "audience_url": f"http://127.0.0.1:{free_port()}",
            "experiments_url": f"http://127.0.0.1:{free_port()}",
        }
    )
    with serving("experiments", alone) as url:
        client = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {KEY}"}, timeout=30)
        answer = client.get(f"/v1/experiments/{key}/assignments", params={"contact": True})
        assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
        assert client.get(f"/v1/experiments/{key}/results").status_code == 200


def test_t0_before_the_list_was_built_is_refused(experiments, experiment, campaign):
    found, _ = campaign
    key = experiment("early", target_list_id=found["id"])["key"]
    answer = experiments.post(f"/v1/experiments/{key}/assignments", json={"t0": "2020-01-01T00:00:00Z"})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/t0")
    for body, pointer in (
        ({"t0": "2020-01-01T00:00:00"}, "/t0"),
        ({"t1": 1}, "/t1"),
        ({"t0": "9999-01-01T00:00:00Z"}, "/t0"),
    ):
        answer = experiments.post(f"/v1/experiments/{key}/assignments", json=body)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)
