"""Assignments over HTTP: whole lists, splits made elsewhere, one customer at a time, and the sending list."""

import asyncio
import json
from collections.abc import Iterator
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Depends, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import ValidationError

from services.experiments.actions import assignments as actions
from services.experiments.actions import external, sending
from services.experiments.actions.online import Desk
from services.experiments.measures import ASSIGNED
from shared.auth import requires
from shared.bodies import (
    JSON_LIMIT,
    StrictRoute,
    csv_answer,
    media_type,
    ndjson_answer,
    ndjson_lines,
    not_empty,
    parse_json,
    stream,
)
from shared.clients.audience import AudienceDep
from shared.contracts.assignments import (
    AssignAnswer,
    AssignList,
    AssignmentsRun,
    AssignRequest,
    RefusedRow,
    SendingRow,
    StoredAssignment,
)
from shared.csv_rows import CsvRow, csv_rows
from shared.db import EngineOf, read_only, transaction
from shared.errors import UnsupportedMediaType
from shared.jobs import enqueue, unwatched
from shared.service import ACCEPTED, accepted
from shared.uploads import takes_upload

router = APIRouter(
    prefix="/v1", tags=["assignments"], route_class=StrictRoute, dependencies=[requires("experiments:read")]
)
WRITES = [requires("experiments:write")]
Reference = Annotated[str, Path(max_length=100, description="the experiment's key or id")]
BODIES: dict[str, Any] = {
    "requestBody": {
        "description": "Of a list: when it is sent. With `source=external`: rows of who got which arm, and when.",
        "content": {
            "application/json": {
                "schema": AssignList.model_json_schema(),
                "example": {"t0": "2026-03-02T09:00:00Z"},
            },
            "application/x-ndjson": {
                "schema": {"type": "string"},
                "example": '{"customer_id": "c-1", "arm": "mail", "assigned_at": "2026-03-02T09:00:00Z"}\n',
            },
            "text/csv": {
                "schema": {"type": "string"},
                "example": "customer_id,arm,assigned_at\nc-1,mail,2026-03-02T09:00:00Z\n",
            },
        },
    }
}
STREAMED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Rows as NDJSON, or as CSV where that is accepted",
        "content": {"application/x-ndjson": {}, "text/csv": {}},
    }
}


@router.post(
    "/experiments/{key}/assignments",
    status_code=201,
    response_model=AssignmentsRun,
    responses=ACCEPTED,
    dependencies=WRITES,
    openapi_extra=BODIES,
)
@takes_upload
def assign(
    key: Reference,
    request: Request,
    engine: EngineOf,
    audience: AudienceDep,
    source: Literal["list", "external"] = "list",
) -> AssignmentsRun | JSONResponse:
    """Assign the whole target list with one time zero: at once (201), or as a job where the list is long (202).

    Repeating the call changes nothing. With `source=external` the body says who got which arm elsewhere (NDJSON or
    CSV); rows that do not fit are refused one by one, and without a list the first load is the frozen population.
    """
    begin = partial(transaction, engine)
    if source == "external":
        found = external.load(begin, key, not_empty(_external_rows(request)))
        ASSIGNED.labels("external").inc(found.new)
        return found
    task = actions.plan(begin, audience, key, _list_body(request).t0)
    if isinstance(task, AssignmentsRun):
        return task
    if task.members > actions.INLINE:
        with begin() as db:
            return accepted(enqueue(db, "assign-list", {"experiment": key, "task": task.as_json()}))
    found = actions.assign_list(begin, key, task, progress=unwatched)
    ASSIGNED.labels("list").inc(found.new)
    return found


def _list_body(request: Request) -> AssignList:
    raw = b"".join(stream(request, limit=JSON_LIMIT))
    if not raw.strip():
        return AssignList()
    if media_type(request) not in ("application/json", ""):
        raise UnsupportedMediaType("A list is assigned with a JSON body; rows need `source=external`.")
    try:
        return AssignList.model_validate_json(raw) if parse_json(raw) is not None else AssignList()
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False)
        raise RequestValidationError([{**each, "loc": ("body", *each["loc"])} for each in found]) from error


def _external_rows(request: Request) -> Iterator[external.Row]:
    kind = media_type(request)
    if kind in ("application/x-ndjson", "application/ndjson"):
        return (external.read(line, raw) for line, raw in ndjson_lines(stream(request)))
    if kind == "text/csv":
        return (
            _row(number + 1, row) for number, row in csv_rows(stream(request), ("customer_id", "arm", "assigned_at"))
        )
    raise UnsupportedMediaType("Assignments come as application/x-ndjson or text/csv.")


def _row(line: int, row: CsvRow) -> external.Row:
    if row.fault is not None:
        return line, RefusedRow(line=line, pointer=row.fault.pointer, detail=row.fault.detail)
    return external.read(line, row.cells)


@router.get("/experiments/{key}/assignments", response_class=StreamingResponse, responses=STREAMED)
def read_assignments(
    key: Reference, request: Request, engine: EngineOf, audience: AudienceDep, contact: bool = False
) -> Response:
    """Who has which arm, streamed. With `contact=true` the sending list: only those who may be contacted as of now."""
    begin = partial(read_only, engine)
    if contact:
        return _streamed(request, SendingRow, sending.sending_list(begin, audience, key))
    return _streamed(request, StoredAssignment, actions.stored(begin, key))


def _streamed(
    request: Request, row: type[SendingRow | StoredAssignment], rows: Iterator[SendingRow] | Iterator[StoredAssignment]
) -> StreamingResponse:
    if "text/csv" not in request.headers.get("accept", ""):
        return ndjson_answer(rows)
    header = list(row.model_fields)
    return csv_answer(header, ([_cell(value) for value in each.model_dump(mode="json").values()] for each in rows))


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list | bool) else value


async def _desk(request: Request) -> Desk:
    state = request.app.state
    if not hasattr(state, "desk"):
        state.desk = Desk(state.engine)
    desk: Desk = state.desk
    return desk


@router.post("/assign", dependencies=WRITES)
async def assign_one(
    wanted: Annotated[AssignRequest, Body(openapi_examples={"one": {"value": {"customer_id": "c-1"}}})],
    desk: Annotated[Desk, Depends(_desk)],
) -> AssignAnswer:
    """The arms of one customer, decided now and stored before the answer: the same call gives the same arms."""
    return await asyncio.wrap_future(desk.assign(wanted))
