"""Calls that arrive together share one transaction: one wait for the disk answers them all."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

from shared.errors import Busy, DomainError, Invalid

T = TypeVar("T")
A = TypeVar("A")

MOST_WAITING = 2000  # calls waiting for a commit; more are told to come again
MOST_TOGETHER = 500  # calls in one commit


class SharedCommit(Generic[T, A]):
    """Items that arrive while a commit is under way share the next one.

    `write_together` keeps some in one transaction and returns the answer to each, or the error that is its own. Where
    it raises `Invalid`, because Postgres will not hold one of them, they are written one by one: one costs no other
    its place.
    """

    def __init__(self, write_together: Callable[[Sequence[T]], Sequence[A | DomainError]]) -> None:
        self._write = write_together
        self._waiting: list[tuple[T, Future[A]]] = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def submit(self, item: T) -> "Future[A]":
        """The answer to `item`, once what it says is on disk. Raises `Busy` when too many are waiting."""
        answer: Future[A] = Future()
        with self._changed:
            if len(self._waiting) >= MOST_WAITING:
                raise Busy("Too many calls are waiting to be written.")
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

    def _settle(self, group: Sequence[tuple[T, "Future[A]"]]) -> None:
        try:
            answers = self._write([item for item, _answer in group])
        except Exception as error:
            if isinstance(error, Invalid) and len(group) > 1:
                for pair in group:
                    self._settle([pair])
            else:
                for _item, answer in group:
                    answer.set_exception(error)
            return
        for (_item, answer), found in zip(group, answers, strict=True):
            if isinstance(found, DomainError):
                answer.set_exception(found)
            else:
                answer.set_result(found)
