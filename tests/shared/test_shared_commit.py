"""Calls that share a commit: each gets its own answer, none waits for ever, none costs another its place."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future

import pytest

from shared.errors import Busy, DomainError, Invalid
from shared.shared_commit import MOST_TOGETHER, MOST_WAITING, SharedCommit


class Gate:
    """A write that waits until it is let through, and refuses one item."""

    def __init__(self) -> None:
        self.open = threading.Event()

    def write(self, items: Sequence[str]) -> list[str | DomainError]:
        self.open.wait(10)
        if "spoilt" in items:
            raise Invalid("Postgres cannot hold one of these.")
        return [Busy("not now") if item == "unlucky" else f"{item} kept" for item in items]


def test_one_item_that_cannot_be_held_costs_no_other_its_place() -> None:
    gate = Gate()
    commit = SharedCommit[str, str](gate.write)
    answers: dict[str, Future[str]] = {name: commit.submit(name) for name in ("a", "b", "spoilt", "c")}
    gate.open.set()
    with pytest.raises(Invalid):
        answers.pop("spoilt").result(10)
    assert {answer.result(10) for answer in answers.values()} == {"a kept", "b kept", "c kept"}


def test_more_than_can_wait_are_told_to_come_again_at_once() -> None:
    gate = Gate()
    commit = SharedCommit[str, str](gate.write)
    numbers = range(MOST_WAITING + MOST_TOGETHER + 1)
    with pytest.raises(Busy) as told:
        list(map(commit.submit, map(str, numbers)))
    assert told.value.retry_after > 0
    gate.open.set()


def test_who_went_away_does_not_stop_the_others() -> None:
    gate = Gate()
    commit = SharedCommit[str, str](gate.write)
    commit.submit("first")
    left, stayed = commit.submit("left"), commit.submit("stayed")
    left.cancel()
    gate.open.set()
    assert stayed.result(10) == "stayed kept"


def test_an_error_that_is_one_items_own_reaches_it_alone() -> None:
    gate = Gate()
    commit = SharedCommit[str, str](gate.write)
    commit.submit("first")
    unlucky, lucky = commit.submit("unlucky"), commit.submit("lucky")
    gate.open.set()
    with pytest.raises(Busy, match="not now"):
        unlucky.result(10)
    assert lucky.result(10) == "lucky kept"
