"""Refusals that arrive: what a client still sends is read, for a while, before its connection is closed."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

MOST_BYTES = 16 * 1024 * 1024
MOST_SECONDS = 5.0


class Drained:
    """Reads the rest of a refused body before the answer is ended.

    A server that closes a connection while bytes wait unread makes the machine reset it, and a client that sends all
    before it reads (Python's urllib does, and closes after each call) then never sees why it was refused. The answer
    itself is sent at once; only its end waits, for `MOST_BYTES` and `MOST_SECONDS` at most.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, body_ended = 0, False

        async def noting() -> Message:
            nonlocal body_ended
            message = await receive()
            body_ended = message["type"] == "http.disconnect" or not message.get("more_body", False)
            return message

        async def draining(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            ends = message["type"] == "http.response.body" and not message.get("more_body", False)
            if not ends or status < 400 or body_ended:
                await send(message)
                return
            await send({**message, "more_body": True})
            read = 0
            # A client this slow has had its time, and a process that is cancelled here ends: the answer is there.
            with suppress(TimeoutError, asyncio.CancelledError):
                async with asyncio.timeout(MOST_SECONDS):
                    while not body_ended and read < MOST_BYTES:
                        read += len((await noting()).get("body", b""))
            await send({"type": "http.response.body", "body": b""})

        await self._app(scope, noting, draining)
