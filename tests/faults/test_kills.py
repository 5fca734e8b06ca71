"""What was acknowledged is on disk, once, whatever is killed."""

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.faults.installation import Installation, installation
from tests.faults.load import Load

FULL = os.environ.get("ATTUNE_FAULTS") == "full"
KILLS = 20 if FULL else 5
BETWEEN = 1_500  # events acknowledged between two kills
CUSTOMERS = [f"c{number}" for number in range(500)]


@pytest.fixture(scope="module")
def whole() -> Iterator[Installation]:
    with installation() as made:
        made.start("audience", "experiments", "feedback", "experiments worker")
        begin_experiment(made)
        yield made


def begin_experiment(made: Installation) -> None:
    """An experiment that counts the orders which the load sends."""
    client = made.client("experiments")
    metric = {"key": "orders", "kind": "count", "event": "order", "window_days": 1, "maturity": "open"}
    money = {"key": "revenue", "kind": "revenue", "event": "order", "window_days": 1, "maturity": "open"}
    for body in (metric, money):
        client.post("/v1/metrics", json=body).raise_for_status()
    arms = [{"key": "control", "weight": 0.5, "control": True}, {"key": "mail", "weight": 0.5}]
    design = {
        "key": "under-fire", "hypothesis": "Killing processes changes nothing.", "arms": arms, "method": "fixed",
        "metrics": {"primary": "orders", "secondary": ["revenue"]},
    }  # fmt: skip
    client.post("/v1/experiments", json=design).raise_for_status()
    client.post("/v1/experiments/under-fire/start").raise_for_status()
    t0 = (datetime.now(UTC) - timedelta(minutes=5)).isoformat()
    rows = "\n".join(f"{each},{'mail' if index % 2 else 'control'},{t0}" for index, each in enumerate(CUSTOMERS))
    answer = client.post(
        "/v1/experiments/under-fire/assignments?source=external",
        content=f"customer_id,arm,assigned_at\n{rows}\n",
        headers={"Content-Type": "text/csv"},
    )
    answer.raise_for_status()
    assert answer.json()["assigned"] == len(CUSTOMERS)


def stored(made: Installation) -> list[tuple[str, str]]:
    with psycopg.connect(made.postgres.url) as connection:
        return [
            (row[0], row[1])
            for row in connection.execute(
                "select e.customer_id, e.event_id from feedback.event as e where e.kind = 'order'"
            )
        ]


def lost_after(kills: int, made: Installation, victim: str) -> tuple[set[tuple[str, str]], Load]:
    """Kill the victim again and again under load; what was acknowledged and is not there."""
    with Load(made.settings.feedback_url, CUSTOMERS) as load:
        for _ in range(kills):
            load.wait_for(BETWEEN)
            made.kill(victim)
            made.revive(victim)
        load.wait_for(BETWEEN)
    return load.acknowledged - set(stored(made)), load


@pytest.mark.parametrize("victim", ["feedback", "Postgres"])
def test_every_acknowledged_event_is_there_once(whole: Installation, victim: str) -> None:
    before = len(stored(whole))
    lost, load = lost_after(KILLS, whole, victim)
    assert lost == set()
    assert load.refused == []
    assert load.resent > 0
    rows = stored(whole)
    assert len(rows) == len(set(rows)) > before
    if FULL:
        sent_again = f"{load.resent} batches sent again"
        print(f"\n{victim}: {KILLS} kills, {len(load.acknowledged):,} acknowledged, 0 lost, {sent_again}")


def figures(made: Installation, refresh: str) -> list[tuple[str, str, int, float, float]]:
    answer = made.client("experiments").get("/v1/experiments/under-fire/results", params={"refresh": refresh})
    answer.raise_for_status()
    return [
        (metric["metric"], arm["arm"], arm["n"], arm["mean"], arm["total"])
        for metric in answer.json()["metrics"]
        for arm in metric["arms"]
    ]


def test_outcomes_after_the_kills_equal_a_recount_from_raw_events(whole: Installation) -> None:
    end = time.monotonic() + 60
    while whole.client("experiments").get("/v1/experiments/under-fire/results").json()["counted"]["pending_batches"]:
        assert time.monotonic() < end, whole.log_of("experiments worker")
        if not whole.alive("experiments worker"):  # it ends when Postgres does; a supervisor starts it again
            whole.revive("experiments worker")
        time.sleep(0.2)
    counted, recounted = figures(whole, "incremental"), figures(whole, "full")
    assert counted == recounted
    with psycopg.connect(whole.postgres.url) as connection:
        orders = connection.execute(
            "select count(*) from feedback.event as e where e.kind = 'order' and e.customer_id = any(%s)", [CUSTOMERS]
        ).fetchone()[0]
    assert sum(total for metric, _, _, _, total in counted if metric == "orders") == orders


@pytest.mark.skipif(not FULL, reason="the negative control is part of `make faults`")
def test_the_check_does_find_a_loss_when_commits_are_not_waited_for() -> None:
    with installation() as made, psycopg.connect(made.postgres.url, autocommit=True) as connection:
        connection.execute("alter role attune_feedback in database attune set synchronous_commit = off")
        made.start("feedback")
        lost: set[tuple[str, str]] = set()
        for _ in range(KILLS):
            found, _load = lost_after(1, made, "Postgres")
            lost |= found
            if lost:
                break
        assert lost
        print(f"\nsynchronous_commit=off lost {len(lost):,} acknowledged events")
