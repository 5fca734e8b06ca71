"""What happens around every request: its id, its log line, its metrics, and addresses that no database can hold."""

import asyncio
import random
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote_to_bytes

import structlog
from starlette.requests import Request

from shared.problems import problem, shutting_down, unexpected
from shared.telemetry import DURATION, REQUESTS, log

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_REQUEST_ID = re.compile(rb"^[A-Za-z0-9_.\-]{1,100}$")
# Names, no secrets. Asking the system for each would hand the interpreter to another thread in every request.
_ids = random.Random()  # noqa: S311
_QUIET = ("/healthz", "/readyz", "/metrics")


class Observed:
    """Takes, makes and passes on `X-Request-ID`; counts and times the request under its route's template."""

    def __init__(self, app: App, service: str) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        started = time.perf_counter()
        status = 0

        async def observe(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            if fault := _fault_of_address(scope):
                answer = problem(Request(scope), 422, "invalid", f"The address {fault}.")
                await answer(scope, receive, observe)
            else:
                await self._app(scope, receive, observe)
        except asyncio.CancelledError:  # the server stops, and this request was not done in the time it gives
            if status:
                raise
            await shutting_down(Request(scope))(scope, receive, observe)
        except Exception as error:
            answer = unexpected(Request(scope), error)
            if not status:
                await answer(scope, receive, observe)
            else:
                raise ConnectionAbortedError("the answer broke off") from None  # tells the client it is not whole
        finally:
            self._count(scope, status or 500, time.perf_counter() - started)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        # Only templates become labels: addresses hold customers' ids and have no end.
        route = getattr(scope.get("route"), "path_format", "unmatched")
        REQUESTS.labels(self._service, scope["method"], route, str(status)).inc()
        DURATION.labels(self._service, scope["method"], route).observe(seconds)
        if scope["path"] not in _QUIET:
            log.info(
                "request answered",
                method=scope["method"],
                route=route,
                status=status,
                milliseconds=round(seconds * 1000, 1),
            )


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.match(value):
            return str(value.decode())
    return f"{_ids.getrandbits(128):032x}"


def _fault_of_address(scope: Scope) -> str | None:
    """Why an address cannot be read. What is no UTF-8 is never replaced: it would make one customer of two."""
    said = unquote_to_bytes(scope.get("raw_path", b"") + b"?" + scope.get("query_string", b""))
    try:
        said.decode()
    except UnicodeDecodeError:
        return "is not UTF-8"
    return "contains the character NUL" if b"\x00" in said else None
