"""Bodies that are read in a thread: they get threads of their own, so that slow senders leave the others to calls."""

import functools
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, TypeVar

import anyio.to_thread
from fastapi import Request

from shared.errors import Busy

Asked = ParamSpec("Asked")
T = TypeVar("T")

MOST_AT_ONCE = 32  # bodies that one process reads at a time, each with a chunk in memory; more are told to come again


class Uploads:
    """The places of one process for bodies that are being taken in. Used from its event loop alone."""

    def __init__(self, most: int = MOST_AT_ONCE) -> None:
        self._free = most
        self._threads = anyio.CapacityLimiter(most)

    async def run(self, function: Callable[Asked, T], *args: Asked.args, **kwargs: Asked.kwargs) -> T:
        """Call in a thread of its own what reads a body. Raises `Busy` at once when every place is taken."""
        if self._free <= 0:
            raise Busy("Too many files and lists are being taken in.")
        self._free -= 1
        try:
            return await anyio.to_thread.run_sync(functools.partial(function, *args, **kwargs), limiter=self._threads)
        finally:
            self._free += 1


def uploads_of(request: Request) -> Uploads:
    """The places of the application that answers this request."""
    found: Uploads = request.app.state.uploads
    return found


def takes_upload(endpoint: Callable[Asked, T]) -> Callable[Asked, Awaitable[T]]:
    """An endpoint that reads its body by `bodies.stream`: it runs in one of the places. It needs a `request`."""

    @functools.wraps(endpoint)
    async def run(*args: Asked.args, **kwargs: Asked.kwargs) -> T:
        request: Any = kwargs["request"]
        return await uploads_of(request).run(endpoint, *args, **kwargs)

    return run
