"""What several endpoints need: settings, media types, transactions of their own, parameters in paths."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Annotated, Any, Literal

from fastapi import Depends, Path, Request
from pydantic import StringConstraints
from starlette.convertors import Convertor, register_url_convertor

from shared.auth import Caller
from shared.bodies import JSON_LIMIT, STREAM_LIMIT, media_type, stream
from shared.contracts.base import CustomerId
from shared.db import Db, EngineOf, read_only, transaction
from shared.errors import NotFound, UnsupportedMediaType
from shared.settings import Settings

Format = Literal["json", "ndjson", "csv"]
FORMATS: dict[str, Format] = {
    "": "json",
    "application/json": "json",
    "application/x-ndjson": "ndjson",
    "application/ndjson": "ndjson",
    "application/jsonl": "ndjson",
    "text/csv": "csv",
}


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


def _begin(engine: EngineOf) -> Callable[[], AbstractContextManager[Db]]:
    return lambda: transaction(engine)


def _begin_reading(engine: EngineOf) -> Callable[[], AbstractContextManager[Db]]:
    return lambda: read_only(engine)


def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


CallerOf = Annotated[Caller, Depends(_caller)]
"""Whose key the call came with; for calls that need a key."""

SettingsOf = Annotated[Settings, Depends(_settings)]
Begin = Annotated[Callable[[], AbstractContextManager[Db]], Depends(_begin)]
BeginReading = Annotated[Callable[[], AbstractContextManager[Db]], Depends(_begin_reading)]
CustomerPath = Annotated[CustomerId, Path()]


class _AnyId(Convertor[str]):
    """A customer's id in a path, which may hold slashes (`%2F`).

    It takes all that is left of the path: calls about something of a customer (`…/consents`) are registered before the
    calls about the customer, and win where an id looks like one of them.
    """

    regex = "(?s:.+)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("any_id", _AnyId())

_PART_OF_A_CUSTOMER = re.compile(rb"/customers/.*/(?:consents|contact-points)(?:/|$)")


def _customer_itself(request: Request, customer_id: CustomerPath) -> str:
    # The address as it was sent: what is escaped there (`%2Fconsents`) belongs to the id.
    if _PART_OF_A_CUSTOMER.search(request.scope.get("raw_path") or b""):
        raise NotFound("There is no such address; a slash that belongs to a customer's id is written %2F.")
    return customer_id


CustomerItself = Annotated[str, Depends(_customer_itself)]
"""A customer's id in a call about the customer. An address of consents or contact points that lacks a part is none."""

Reference = Annotated[str, StringConstraints(min_length=1, max_length=100), Path(description="Key or id")]


def format_of(request: Request, *known: Format) -> Format:
    """The format of a body by its media type. Raises `UnsupportedMediaType`."""
    found = FORMATS.get(media_type(request))
    if found is None or found not in known:
        readable = [name for name, one in FORMATS.items() if name and one in known]
        raise UnsupportedMediaType(f"This call reads {', '.join(readable)}.")
    return found


def body_of(request: Request, format_: Format) -> Iterator[bytes]:
    """The body, chunk by chunk: at most 1 MiB of JSON, 2 GiB of lines."""
    return stream(request, limit=JSON_LIMIT if format_ == "json" else STREAM_LIMIT)


def wants(request: Request) -> Format:
    """The format of the answer that the caller asks for; JSON unless it says otherwise."""
    asked = [part.split(";")[0].strip().lower() for part in request.headers.get("accept", "").split(",")]
    return next((FORMATS[one] for one in asked if one and one in FORMATS), "json")


def bulk_body(row: dict[str, Any], example: dict[str, Any], csv: str | None = None) -> dict[str, Any]:
    """The description of a body that is a list of rows, NDJSON or (with `csv`, its example) CSV."""
    content: dict[str, Any] = {
        "application/json": {"schema": {"type": "array", "items": row}, "example": [example]},
        "application/x-ndjson": {"schema": {"type": "string"}, "example": json.dumps(example) + "\n"},
    }
    if csv is not None:
        content["text/csv"] = {"schema": {"type": "string"}, "example": csv}
    return {"requestBody": {"required": True, "content": content}}
