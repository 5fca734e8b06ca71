"""Rejects over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Body, Query, Request

from services.feedback.actions import rejects as actions
from services.feedback.api.events import IntakeOf
from services.feedback.queries import rejects as queries
from shared.auth import requires
from shared.bodies import StrictRoute
from shared.contracts.feedback import Door, IngestReport, NewRetry, Reject, RejectCode
from shared.db import ReadTx
from shared.pages import Page, Paged

EXAMPLE = {"rejects": [{"id": "0199a3c4-5d6e-7f80-9a1b-2c3d4e5f6071"}]}
NewBody = Annotated[NewRetry, Body(openapi_examples={"as it was": {"value": EXAMPLE}})]

router = APIRouter(tags=["rejects"], route_class=StrictRoute)


@router.get("/v1/rejects", dependencies=[requires("feedback:read")])
def list_rejects(
    db: ReadTx,
    page: Paged,
    code: Annotated[RejectCode | None, Query()] = None,
    door: Annotated[Door | None, Query()] = None,
) -> Page[Reject]:
    """What was refused and why, newest first. What is personal is hashed."""
    return page.answer(queries.rejects(db, code, door, page), lambda reject: [str(reject.id)])


@router.post("/v1/rejects:retry", dependencies=[requires("feedback:write")])
def retry(new: NewBody, intake: IntakeOf, request: Request) -> IngestReport:
    """Try rejects again, as they were sent (after a kind was declared, say) or as they are said to be now.

    The report's `index` counts the rejects of this call. What is refused again stays where it was.
    """
    return actions.retry(intake, new.rejects, request.scope["state"]["request_id"])
