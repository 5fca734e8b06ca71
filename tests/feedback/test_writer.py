"""The writer under many hands: one verdict each, one row each, no deadlock, no unbounded queue."""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import sqlalchemy as sa

from tests.feedback.conftest import Make


def test_of_many_who_send_the_same_event_at_once_one_is_accepted(feedback: httpx.Client, event: Make) -> None:
    with ThreadPoolExecutor(16) as many:
        answers = list(many.map(lambda _: feedback.post("/v1/events", json=event()).json(), range(48)))
    assert sum(answer["accepted"] for answer in answers) == 1
    assert sum(answer["duplicates"] for answer in answers) == 47


def test_batches_that_overlap_in_any_order_do_not_block_each_other(
    feedback: httpx.Client, owner_engine: sa.Engine, event: Make, unique: str
) -> None:
    events = [event(number) for number in range(400)]

    def send(turn: int) -> dict[str, int]:
        part = events[turn * 20 :] + events[: turn * 20]
        answer = feedback.post("/v1/events", json=part[:300] if turn % 2 else part[::-1][:300])
        assert answer.status_code == 200, answer.text
        report: dict[str, int] = answer.json()
        return report

    with ThreadPoolExecutor(8) as many:
        reports = list(many.map(send, range(20)))
    assert sum(report["accepted"] for report in reports) == 400
    assert sum(report["accepted"] + report["duplicates"] for report in reports) == 20 * 300
    with owner_engine.connect() as db:
        count = sa.text("select count(*) from feedback.event where customer_id like :prefix")
        assert db.execute(count, {"prefix": f"{unique}%"}).scalar_one() == 400


def test_single_events_that_come_together_share_arrivals(
    feedback: httpx.Client, owner_engine: sa.Engine, event: Make, unique: str
) -> None:
    with ThreadPoolExecutor(32) as many:
        bodies = [json.dumps(event(number)) for number in range(640)]
        header = {"Content-Type": "application/json"}
        answers = list(many.map(lambda body: feedback.post("/v1/events", content=body, headers=header), bodies))
    assert Counter(answer.status_code for answer in answers) == {200: 640}
    count = "select count(distinct batch_id), count(*) from feedback.event where customer_id like :prefix"
    with owner_engine.connect() as db:
        arrivals, events = db.execute(sa.text(count), {"prefix": f"{unique}%"}).one()
    assert events == 640
    assert arrivals < 640
