"""The durable, deduplicating writer: what it says is accepted is on disk, once."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import datetime
from enum import StrEnum
from typing import Generic, NamedTuple, TypeVar

from services.feedback.doors import Item
from services.feedback.queries import events as queries
from shared.contracts.feedback import Event
from shared.contracts.kinds import WELL_KNOWN
from shared.db import Db
from shared.errors import Busy, Invalid

T = TypeVar("T")

MOST_WAITING = 2000  # single events waiting for a commit; more are told to come again
MOST_TOGETHER = 500  # single events in one commit

WITHDRAWING = frozenset(name for name, rule in WELL_KNOWN.items() if rule.follows != "nothing")


class Verdict(StrEnum):
    """What became of an event that broke no rule."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"  # the same event was there already
    CONFLICT = "conflict"  # another event was there under its id; nothing was changed


class Received(NamedTuple):
    """When events arrived, and the currency of money that names none."""

    at: datetime
    currency: str


def write(db: Db, items: Sequence[Item], received: Received) -> list[Verdict]:
    """Keep the new events in the transaction of `db`, with their arrival and their withdrawals: a verdict for each."""
    if not items:
        return []
    first, verdicts = _within(items)
    keys = sorted(first)
    incoming = queries.Incoming(db, [items[first[key]].event for key in keys], received.currency)
    arrived = incoming.insert(received.at)
    if arrived.events < len(keys):
        standing = incoming.standing(arrived.batch_id)
        if arrived.events + len(standing) < len(keys):
            raise Busy("Events were removed while they were written; send them again.")
        _settle(items, verdicts, standing)
    incoming.close()
    if arrived.events and any(item.event.kind in WITHDRAWING for item in items):
        queries.withdraw(db, arrived.batch_id)
    return verdicts


def _key(event: Event) -> tuple[str, str]:
    return event.customer_id, event.event_id or ""


def _within(items: Sequence[Item]) -> tuple[dict[tuple[str, str], int], list[Verdict]]:
    """The place of the first item of each key; later ones are judged against it."""
    first: dict[tuple[str, str], int] = {}
    verdicts = [Verdict.ACCEPTED] * len(items)
    for place, item in enumerate(items):
        earlier = first.setdefault(_key(item.event), place)
        if earlier != place:
            same = items[earlier].event == item.event
            verdicts[place] = Verdict.DUPLICATE if same else Verdict.CONFLICT
    return first, verdicts


def _settle(items: Sequence[Item], verdicts: list[Verdict], standing: dict[tuple[str, str], bool]) -> None:
    """Judge the items whose key was there before them."""
    for place, item in enumerate(items):
        same = standing.get(_key(item.event))
        if same is not None and verdicts[place] is not Verdict.CONFLICT:
            verdicts[place] = Verdict.DUPLICATE if same else Verdict.CONFLICT


class SharedCommit(Generic[T]):
    """Single events that arrive while a commit is under way share the next one.

    `write_together` keeps some in one transaction and returns their verdicts. One event that Postgres will not hold
    costs no other its place: they are then written one by one.
    """

    def __init__(self, write_together: Callable[[Sequence[T]], list[Verdict]]) -> None:
        self._write = write_together
        self._waiting: list[tuple[T, Future[Verdict]]] = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def submit(self, item: T) -> "Future[Verdict]":
        """The verdict on `item`, once it is on disk. Raises `Busy` when too many are waiting."""
        answer: Future[Verdict] = Future()
        with self._changed:
            if len(self._waiting) >= MOST_WAITING:
                raise Busy("Too many events are waiting to be written.")
            self._waiting.append((item, answer))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="shared commit", daemon=True)
                self._thread.start()
            self._changed.notify()
        return answer

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    self._changed.wait()
                group, self._waiting = self._waiting[:MOST_TOGETHER], self._waiting[MOST_TOGETHER:]
            wanted = [pair for pair in group if pair[1].set_running_or_notify_cancel()]
            if wanted:
                self._settle(wanted)

    def _settle(self, group: Sequence[tuple[T, "Future[Verdict]"]]) -> None:
        try:
            verdicts = self._write([item for item, _answer in group])
        except Exception as error:
            if isinstance(error, Invalid) and len(group) > 1:
                for pair in group:
                    self._settle([pair])
            else:
                for _item, answer in group:
                    answer.set_exception(error)
            return
        for (_item, answer), verdict in zip(group, verdicts, strict=True):
            answer.set_result(verdict)
