"""Answers that take long to work out, kept in the process for who asks again."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Answer = TypeVar("Answer")


class Memory(Generic[Key, Answer]):
    """The `most` answers asked for last. A key names all that its answer depends on, so that no answer grows old."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[Key, Answer] = OrderedDict()
        self._lock, self._working = Lock(), Lock()

    def get(self, key: Key) -> Answer | None:
        """The answer, if it is kept."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def answer(self, key: Key, work: Callable[[], Answer]) -> Answer:
        """The answer that is kept, or else what `work` comes to: one at a time, once for all who ask meanwhile."""
        with self._working:
            found = self.get(key)
            if found is None:
                found = work()
                with self._lock:
                    self._kept[key] = found
                    while len(self._kept) > self._most:
                        self._kept.popitem(last=False)
        return found
