"""Errors as RFC 9457 problem documents. The only place that knows status codes."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import psycopg
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from shared import errors
from shared.contracts.base import in_words
from shared.errors import FieldError
from shared.telemetry import seen_of

log = structlog.get_logger()

STATUS: dict[type[errors.DomainError], int] = {
    errors.Unreadable: 400,
    errors.Unauthorised: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.TooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.Invalid: 422,
    errors.Busy: 429,
    errors.PeerUnavailable: 503,
}


class ProblemField(BaseModel):
    pointer: str
    detail: str


class Problem(BaseModel):
    """An error, by RFC 9457. `errors` points into the body (JSON pointers)."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    request_id: str
    errors: list[ProblemField] = []


def problem(
    request: Request,
    status: int,
    code: str,
    detail: str,
    fields: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """A problem document as the answer to `request`."""
    content = Problem(
        type=f"urn:attune:problem:{code}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        instance=request.scope.get("path", "").encode("utf-8", "replace").decode(),
        request_id=request.scope.get("state", {}).get("request_id", ""),
        errors=[ProblemField(pointer=field.pointer, detail=field.detail) for field in fields],
    ).model_dump(exclude_defaults=True)
    return JSONResponse(content, status, headers, media_type="application/problem+json")


def _domain(request: Request, error: errors.DomainError) -> JSONResponse:
    status = next(STATUS[base] for base in type(error).__mro__ if base in STATUS)
    headers = {}
    if isinstance(error, errors.Busy | errors.PeerUnavailable):
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, errors.Unauthorised):
        headers["WWW-Authenticate"] = error.challenge
    return problem(request, status, error.code, error.detail, error.errors, headers)


def pointer(location: Sequence[int | str]) -> str:
    """A location of Pydantic's as a JSON pointer; `body` is the root, other places keep their name."""
    parts = [str(part).replace("~", "~0").replace("/", "~1") for part in location]
    if parts and parts[0] == "body":
        return "".join(f"/{part}" for part in parts[1:])
    return "#" + "/".join(parts)


def _validation(request: Request, error: RequestValidationError) -> JSONResponse:
    found = error.errors()
    if any(one["type"] == "json_invalid" for one in found):
        return problem(request, 400, "unreadable", "The body is not JSON.", [FieldError("", str(found[0]["msg"]))])
    told: dict[str, list[str]] = {}
    for one in found:
        details = told.setdefault(pointer(_place(one, error.body)), [])
        if (detail := _detail(one)) not in details:
            details.append(detail)
    fields = [FieldError(place, " or ".join(details)) for place, details in told.items()]
    return problem(request, 422, "invalid", "Some fields break a rule.", fields[:100])


def _place(error: Mapping[str, Any], body: Any) -> Sequence[int | str]:
    """Where the value stands that has the wrong type: where several types would do, Pydantic adds each one's name."""
    location: Sequence[int | str] = error["loc"]
    if location[0] != "body" or not error["type"].endswith("_type"):
        return location
    value = body
    for depth, part in enumerate(location[1:], start=1):
        known = isinstance(value, dict) and part in value
        known = known or (isinstance(value, list) and isinstance(part, int) and part < len(value))
        if not known:
            return location[:depth] if body is not None else location
        value = value[part]
    return location


def _detail(error: Mapping[str, Any]) -> str:
    if error["type"] in ("model_attributes_type", "model_type", "dict_type"):
        return "must be a JSON object"
    if error["type"] == "missing" and error["loc"] == ("body",):
        return "the call needs a body"
    return in_words(error["msg"])


def _http(request: Request, error: HTTPException) -> JSONResponse:
    code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
    return problem(request, error.status_code, code, str(error.detail), headers=error.headers)


def _database(request: Request, error: Exception) -> JSONResponse:
    cause = getattr(error, "orig", error)
    if isinstance(cause, psycopg.errors.QueryCanceled | psycopg.errors.LockNotAvailable):
        return _again(request, "Postgres took too long; try again.")
    if isinstance(cause, psycopg.errors.DeadlockDetected | psycopg.errors.SerializationFailure):
        return _again(request, "The call collided with another; try again.")
    if isinstance(error, OperationalError | PoolTimeout | psycopg.OperationalError) or _disconnected(error):
        log.warning("database unavailable", error=type(cause).__name__)
        return _again(request, "Postgres does not answer; try again.")
    return unexpected(request, error)


def _disconnected(error: Exception) -> bool:
    return isinstance(error, DBAPIError) and error.connection_invalidated


def shutting_down(request: Request) -> JSONResponse:
    """The answer to a request that the end of its process cuts off."""
    return _again(request, "The service is stopping and could not finish this; try again.")


def _again(request: Request, detail: str) -> JSONResponse:
    return problem(request, 503, "unavailable", detail, headers={"Retry-After": "2"})


def unexpected(request: Request, error: Exception) -> JSONResponse:
    """The answer to an error nobody foresaw. Its message may quote a row: only its kind and place are logged."""
    log.error("request failed", **seen_of(error))
    return problem(request, 500, "internal", "Something went wrong here; the log has it under the request id.")


def install(app: FastAPI) -> None:
    """Make every error of `app` a problem document."""
    app.add_exception_handler(errors.DomainError, _domain)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, _validation)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, _http)  # type: ignore[arg-type]
    app.add_exception_handler(DBAPIError, _database)
    app.add_exception_handler(PoolTimeout, _database)
    app.add_exception_handler(psycopg.OperationalError, _database)
