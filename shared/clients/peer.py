"""The rules of calling another service, in one base class."""

import time
from collections.abc import Callable, Mapping
from typing import TypeVar

import httpx
import structlog
from pydantic import BaseModel

from shared import errors
from shared.contracts.base import read

M = TypeVar("M", bound=BaseModel)

BY_STATUS: dict[int, type[errors.DomainError]] = {
    400: errors.Invalid,
    404: errors.NotFound,
    409: errors.Conflict,
    413: errors.TooLarge,
    422: errors.Invalid,
}
ATTEMPTS = 3
TIMEOUT = httpx.Timeout(60.0, connect=2.0)


def peer_http(url: str, key: str) -> httpx.Client:
    """The HTTP client with which one service calls another."""
    return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=TIMEOUT)


class Peer:
    """A typed view of another service. Subclasses add one method for each endpoint in use."""

    def __init__(self, http: httpx.Client, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._http = http
        self._sleep = sleep

    def _call(
        self,
        method: str,
        path: str,
        answer: type[M],
        body: BaseModel | None = None,
        params: Mapping[str, str] | None = None,
    ) -> M:
        """Call and read the answer. Raises the domain error that the peer's status stands for, or `PeerUnavailable`."""
        content = body.model_dump_json(exclude_none=True) if body else None
        response = self._send(method, path, content, params)
        if response.is_success:
            return read(answer, response.content)
        error = BY_STATUS.get(response.status_code)
        if error is None:
            raise errors.PeerUnavailable(f"{self._http.base_url} answered {response.status_code}.")
        raise error(_detail(response))

    def _send(self, method: str, path: str, content: str | None, params: Mapping[str, str] | None) -> httpx.Response:
        """Safe calls are tried three times, on transport errors and 502 to 504; POST never twice."""
        attempts = ATTEMPTS if method in ("GET", "PUT", "DELETE") else 1
        headers = {"Content-Type": "application/json"} if content else {}
        request_id = structlog.contextvars.get_contextvars().get("request_id")
        if request_id:
            headers["X-Request-ID"] = request_id
        for attempt in range(attempts):
            try:
                response = self._http.request(method, path, content=content, params=params, headers=headers)
            except httpx.TransportError as error:
                if attempt + 1 == attempts:
                    raise errors.PeerUnavailable(f"{self._http.base_url} does not answer.") from error
            else:
                if response.status_code not in (502, 503, 504) or attempt + 1 == attempts:
                    return response
            self._sleep(0.1 * 2**attempt)
        raise AssertionError("every attempt returns or raises")

    def answers(self) -> bool:
        """Whether the peer's process is there; for `/readyz`, which shows it and never depends on it."""
        try:
            return self._http.get("/healthz", timeout=0.5).is_success
        except httpx.TransportError:
            return False


def _detail(response: httpx.Response) -> str:
    try:
        return str(response.json().get("detail", response.reason_phrase))
    except ValueError:
        return response.reason_phrase
