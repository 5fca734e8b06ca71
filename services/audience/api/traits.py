"""Derived traits over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Body, Request

from services.audience.actions import traits as actions
from services.audience.actions.reading import rows_of
from services.audience.api.common import Begin, body_of, bulk_body, format_of
from shared.auth import requires
from shared.bodies import StrictRoute
from shared.contracts.audience import TraitsPull, TraitsPulled, TraitsReport, TraitsRow
from shared.db import Tx
from shared.uploads import takes_upload

router = APIRouter(prefix="/v1", tags=["traits"], route_class=StrictRoute, dependencies=[requires("audience:write")])

ROW = {"customer_id": "c-42", "traits": {"churn_risk": 0.12}, "computed_at": "2026-03-01T00:00:00Z", "model": "churn-3"}
PULL = {"source": "rfm", "run": "01958f3e-8f6a-7cc1-b1a4-6a2f6f3c9f10"}


@router.post("/traits", openapi_extra=bulk_body(TraitsRow.model_json_schema(), ROW))
@takes_upload
def put_traits(request: Request, begin: Begin) -> TraitsReport:
    """Take in traits that a model outside derived: a JSON list or NDJSON. The newest `computed_at` of a trait stays.

    Customers that were unknown become known. A refused row never costs the others anything.
    """
    format_ = format_of(request, "json", "ndjson")
    return actions.put(begin, rows_of(format_, body_of(request, format_)))


@router.post("/traits:pull")
def pull_traits(
    wanted: Annotated[TraitsPull, Body(openapi_examples={"example": {"value": PULL}})], db: Tx
) -> TraitsPulled:
    """Take over, as a set, what a model run published. Doing it again changes nothing."""
    return actions.pull(db, wanted)
