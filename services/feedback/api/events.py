"""Events over HTTP: in by every native form, out page by page."""

import asyncio
import json
from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from services.feedback.actions import events as actions
from services.feedback.actions.intake import Intake, Single, Source
from services.feedback.doors import Parsed, native
from services.feedback.queries import events as queries
from shared import bodies
from shared.auth import requires
from shared.contracts.base import CustomerId, Instant
from shared.contracts.feedback import Event, IngestReport, Kind, RecordedEvent
from shared.csv_rows import csv_rows
from shared.db import ReadTx
from shared.errors import TooLarge, Unreadable, UnsupportedMediaType
from shared.pages import Page, Paged
from shared.uploads import uploads_of

router = APIRouter(prefix="/v1/events", tags=["events"], route_class=bodies.StrictRoute)

JSON = ("application/json", "")
NDJSON = ("application/x-ndjson", "application/ndjson", "application/jsonl")
CSV = "text/csv"

EXAMPLE = {
    "event_id": "o-20260301-17",
    "customer_id": "c-42",
    "kind": "order",
    "occurred_at": "2026-03-01T12:30:00Z",
    "value": "59.90",
    "currency": "EUR",
    "properties": {"order_id": "1001", "category": "shoes"},
    "campaign": "spring-sale",
}
EVENT_SCHEMA = Event.model_json_schema()
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"anyOf": [EVENT_SCHEMA, {"type": "array", "items": EVENT_SCHEMA}]},
                "examples": {"one": {"value": EXAMPLE}, "list": {"value": [EXAMPLE]}},
            },
            "application/x-ndjson": {"schema": {"type": "string"}, "example": json.dumps(EXAMPLE) + "\n"},
            "text/csv": {
                "schema": {"type": "string"},
                "example": "event_id,customer_id,kind,occurred_at,value,properties.category\n"
                "o-20260301-17,c-42,order,2026-03-01T12:30:00Z,59.90,shoes\n",
            },
        },
    }
}


async def intake_of(request: Request) -> Intake:
    """What all requests of this process share."""
    state = request.app.state
    if not hasattr(state, "intake"):
        state.intake = Intake(state.engine, state.settings)
    intake: Intake = state.intake
    return intake


IntakeOf = Annotated[Intake, Depends(intake_of)]


@router.post("", openapi_extra=BODY, dependencies=[requires("feedback:write", basic="user name")])
async def take(request: Request) -> IngestReport:
    """Take in one event, a list of them, NDJSON or CSV. What is accepted is on disk when the answer comes.

    One event that is refused answers 422, one that conflicts with another of the same id 409. A list, NDJSON or CSV
    answers 200 with the verdict on every item, even if all are refused. Sending the same again changes nothing.
    """
    kind, request_id = bodies.media_type(request), request.scope["state"]["request_id"]
    intake, uploads = await intake_of(request), uploads_of(request)  # no dependency: solving one takes a while
    if kind in NDJSON:
        return await uploads.run(actions.take_file, intake, _lines(request), Source("ndjson", request_id))
    if kind == CSV:
        return await uploads.run(actions.take_file, intake, _rows(intake, request), Source("csv", request_id))
    if kind not in JSON:
        raise UnsupportedMediaType("Events come as application/json, application/x-ndjson or text/csv.")
    body = await _body(request)
    if native.is_single(body):
        return await _take_one(intake, body, Source("one", request_id))
    return await uploads.run(actions.take_list, intake, body, Source("list", request_id))


async def _take_one(intake: Intake, body: bytes, source: Source) -> IngestReport:
    item = actions.plain_one(intake, body)
    if item is None:  # something needs a look into the database, or is wrong
        item = await run_in_threadpool(actions.look_at_one, intake, body, source)
    verdict = await asyncio.wrap_future(intake.shared_commit.submit(Single(item, source)))
    return actions.answer_one(item.event, verdict)


@router.get("", dependencies=[requires("feedback:read")])
def list_events(
    db: ReadTx,
    page: Paged,
    customer_id: Annotated[CustomerId | None, Query()] = None,
    kind: Annotated[Kind | None, Query()] = None,
    since: Annotated[Instant | None, Query()] = None,
) -> Page[RecordedEvent]:
    """What was taken, newest first: a customer's events by when they happened, everybody's by when they arrived."""
    if customer_id is not None:
        found = queries.of_customer(db, customer_id, kind, since, page)
        return page.answer(found, lambda event: [event.occurred_at.isoformat(), event.event_id])
    found = queries.of_all(db, kind, since, page)
    return page.answer(found, lambda event: [str(event.batch_id), event.customer_id, event.event_id])


async def _body(request: Request) -> bytes:
    """A JSON body of at most 1 MiB."""
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        return await uploads_of(request).run(lambda: b"".join(bodies.stream(request, limit=bodies.JSON_LIMIT)))
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > bodies.JSON_LIMIT:
                raise TooLarge(f"The body is larger than {bodies.JSON_LIMIT} bytes; send NDJSON or CSV.")
    except ClientDisconnect as error:
        raise Unreadable("The body broke off.") from error
    return bytes(body).removeprefix(bodies.MARK)


def _lines(request: Request) -> Iterator[Parsed]:
    return native.ndjson(bodies.ndjson_lines(bodies.stream(request)))


def _rows(intake: Intake, request: Request) -> Iterator[Parsed]:
    rows = csv_rows(bodies.stream(request), ("customer_id", "kind", "occurred_at"))
    yield from native.csv(rows, intake.kinds.reread())
