"""Errors as RFC 9457 problem documents. The only place that knows status codes."""

from collections.abc import Sequence
from http import HTTPStatus

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
from shared.errors import FieldError

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
    request: Request, status: int, code: str, detail: str, fields: Sequence[FieldError] = (), retry_after: int = 0
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
    headers = {"Retry-After": str(retry_after)} if retry_after else {}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(content, status, headers, media_type="application/problem+json")


def _domain(request: Request, error: errors.DomainError) -> JSONResponse:
    status = next(STATUS[base] for base in type(error).__mro__ if base in STATUS)
    return problem(request, status, error.code, error.detail, error.errors, getattr(error, "retry_after", 0))


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
    fields = [FieldError(pointer(one["loc"]), one["msg"]) for one in found]
    return problem(request, 422, "invalid", "Some fields break a rule.", fields[:100])


def _http(request: Request, error: HTTPException) -> JSONResponse:
    return problem(request, error.status_code, HTTPStatus(error.status_code).phrase.lower().replace(" ", "-"), str(error.detail))


def _database(request: Request, error: Exception) -> JSONResponse:
    cause = getattr(error, "orig", None)
    if isinstance(cause, psycopg.errors.QueryCanceled | psycopg.errors.LockNotAvailable):
        return problem(request, 503, "unavailable", "Postgres took too long; try again.", retry_after=2)
    if isinstance(cause, psycopg.errors.DeadlockDetected | psycopg.errors.SerializationFailure):
        return problem(request, 503, "unavailable", "The call collided with another; try again.", retry_after=1)
    if isinstance(error, OperationalError | PoolTimeout) or getattr(error, "connection_invalidated", False):
        log.warning("database unavailable", error=type(cause or error).__name__)
        return problem(request, 503, "unavailable", "Postgres does not answer; try again.", retry_after=2)
    return _unexpected(request, error)


def _unexpected(request: Request, error: Exception) -> JSONResponse:
    # The message of a database error quotes the row, which may be personal: only its kind is logged.
    log.error("request failed", error=type(error).__name__, where=_where(error), path=request.scope.get("route_path", ""))
    return problem(request, 500, "internal", "Something went wrong here; the log has it under the request id.")


def _where(error: BaseException) -> str:
    """The lines of our own code on the way to the error, innermost last."""
    lines = []
    trace = error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_globals.get("__name__", "")
        if name.split(".")[0] in ("services", "shared"):
            lines.append(f"{name}:{trace.tb_lineno}")
        trace = trace.tb_next
    return " > ".join(lines[-8:])


def install(app: FastAPI) -> None:
    """Make every error of `app` a problem document."""
    app.add_exception_handler(errors.DomainError, _domain)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, _validation)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, _http)  # type: ignore[arg-type]
    app.add_exception_handler(DBAPIError, _database)
    app.add_exception_handler(PoolTimeout, _database)
    app.add_exception_handler(psycopg.OperationalError, _database)
    app.add_exception_handler(Exception, _unexpected)
