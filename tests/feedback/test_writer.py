"""The writer under many hands: one verdict each, one row each, no deadlock, no unbounded queue."""

import json
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest
import sqlalchemy as sa

from services.feedback import writer
from services.feedback.actions.events import take_list
from services.feedback.actions.intake import MOST_AT_ONCE, Intake, Source
from services.feedback.writer import SharedCommit, Verdict
from shared.errors import Busy, Invalid
from shared.settings import Settings
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


class Gate:
    """A write that waits until it is let through, and refuses one item."""

    def __init__(self) -> None:
        self.open = threading.Event()

    def write(self, items: Sequence[str]) -> list[Verdict]:
        self.open.wait(10)
        if "spoilt" in items:
            raise Invalid("Postgres cannot hold one of these events.")
        return [Verdict.ACCEPTED] * len(items)


def test_one_event_that_cannot_be_held_costs_no_other_its_place() -> None:
    gate = Gate()
    commit = SharedCommit[str](gate.write)
    answers: dict[str, Future[Verdict]] = {name: commit.submit(name) for name in ("a", "b", "spoilt", "c")}
    gate.open.set()
    with pytest.raises(Invalid):
        answers.pop("spoilt").result(10)
    assert {answer.result(10) for answer in answers.values()} == {Verdict.ACCEPTED}


def test_more_than_can_wait_are_told_to_come_again_at_once() -> None:
    gate = Gate()
    commit = SharedCommit[str](gate.write)
    numbers = range(writer.MOST_WAITING + writer.MOST_TOGETHER + 1)
    with pytest.raises(Busy) as told:
        list(map(commit.submit, map(str, numbers)))
    assert told.value.retry_after > 0
    gate.open.set()


def test_who_went_away_does_not_stop_the_others() -> None:
    gate = Gate()
    commit = SharedCommit[str](gate.write)
    commit.submit("first")
    left, stayed = commit.submit("left"), commit.submit("stayed")
    left.cancel()
    gate.open.set()
    assert stayed.result(10) is Verdict.ACCEPTED


def test_lists_past_the_places_are_told_to_come_again(feedback_engine: sa.Engine, settings: Settings) -> None:
    intake = Intake(feedback_engine, settings)
    with ExitStack() as places:
        for _ in range(MOST_AT_ONCE):
            places.enter_context(intake.place())
        with pytest.raises(Busy):
            take_list(intake, b"[]", Source("list", "test"))
    assert take_list(intake, b"[]", Source("list", "test")).accepted == 0
