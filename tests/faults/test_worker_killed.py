"""A worker killed in the middle of assigning a list leaves no half-assigned list, and its successor finishes it."""

import time

import psycopg

from tests.faults.installation import Installation, installation

MEMBERS = 60_000
NDJSON = {"Content-Type": "application/x-ndjson"}


def prepare(made: Installation) -> str:
    """A list of many, and a running experiment on it. Returns the list's id."""
    audience, experiments = made.client("audience"), made.client("experiments")
    audience.put("/v1/attributes/city", json={"type": "text"}).raise_for_status()
    row = (
        '{"customer_id": "c%d", "attributes": {"city": "Lyon"},'
        ' "contact_points": [{"channel": "email", "handle": "h%d"}],'
        ' "consents": [{"channel": "email", "purpose": "marketing", "state": "granted", "source": "shop"}]}\n'
    )
    rows = ((row % (number, number)).encode() for number in range(MEMBERS))
    audience.post("/v1/customers", content=rows, headers=NDJSON, timeout=120).raise_for_status()
    segment = {"key": "lyon", "definition": {"attribute": "city", "is": "eq", "value": "Lyon"}}
    audience.post("/v1/segments", json=segment).raise_for_status()
    new = {"name": "all", "segment_id": "lyon", "channel": "email", "purpose": "marketing"}
    built = audience.post("/v1/target-lists", json=new, timeout=120)
    built.raise_for_status()
    experiments.post(
        "/v1/metrics", json={"key": "orders", "kind": "count", "event": "order", "window_days": 1}
    ).raise_for_status()
    design = {
        "key": "large", "hypothesis": "It is whole.", "split": "exact", "metrics": {"primary": "orders"},
        "target_list_id": built.json()["id"],
        "arms": [{"key": "control", "weight": 0.5, "control": True}, {"key": "mail", "weight": 0.5}],
    }  # fmt: skip
    experiments.post("/v1/experiments", json=design).raise_for_status()
    experiments.post("/v1/experiments/large/start").raise_for_status()
    return str(built.json()["id"])


def assigned(made: Installation) -> dict[str, int]:
    with psycopg.connect(made.postgres.url) as connection:
        rows = connection.execute("select a.arm, count(*) from published.experiments_assignments as a group by a.arm")
        return {row[0]: row[1] for row in rows}


def test_after_the_restart_the_list_is_whole() -> None:
    with installation() as made:
        made.start("audience", "experiments")
        prepare(made)
        answer = made.client("experiments").post("/v1/experiments/large/assignments", json={})
        assert answer.status_code == 202
        job = answer.headers["location"]
        made.start("experiments worker")
        end = time.monotonic() + 60
        while made.client("experiments").get(job).json()["progress"] == 0:
            assert time.monotonic() < end, made.client("experiments").get(job).text
            time.sleep(0.005)
        made.kill("experiments worker")
        assert made.client("experiments").get(job).json()["state"] == "running"
        assert assigned(made) == {}, "half a list must not be seen"
        made.revive("experiments worker")
        end = time.monotonic() + 90
        while made.client("experiments").get(job).json()["state"] != "succeeded":
            assert time.monotonic() < end, made.client("experiments").get(job).text + made.log_of("experiments worker")
            time.sleep(0.2)
        assert assigned(made) == {"control": MEMBERS // 2, "mail": MEMBERS // 2}
