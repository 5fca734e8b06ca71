"""Models over HTTP: train, list, look at."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Body, Query
from fastapi.responses import JSONResponse

from services.feedback.actions import models as actions
from services.feedback.queries import models as queries
from shared.auth import requires
from shared.bodies import StrictRoute
from shared.contracts.feedback import ModelRun, TrainRfm
from shared.db import ReadTx, Tx
from shared.idempotency import Once
from shared.jobs import Job
from shared.pages import Page, Paged
from shared.service import ACCEPTED, accepted

router = APIRouter(
    prefix="/v1/models", tags=["models"], route_class=StrictRoute, dependencies=[requires("feedback:read")]
)
EXAMPLE = {"kind": "order", "purchase": "order_id", "as_of": "2026-03-01T00:00:00Z"}
NewBody = Annotated[TrainRfm, Body(openapi_examples={"orders": {"value": EXAMPLE}})]


@router.post("/rfm", status_code=202, responses=ACCEPTED, dependencies=[requires("feedback:write")])
def train_rfm(new: NewBody, db: Tx, once: Once) -> JSONResponse:
    """Score all customers by recency, frequency and monetary value, and put the scores into their portraits."""
    return accepted(once(db, new, effect=lambda: actions.train_rfm(db, new), answer=Job))


@router.get("")
def list_runs(db: ReadTx, page: Paged, model: Annotated[Literal["rfm"] | None, Query()] = None) -> Page[ModelRun]:
    """Runs of all models, newest first. One of each model is active, the last that scored anybody."""
    return page.answer(queries.runs(db, model, page), lambda run: [str(run.id)])


@router.get("/{run_id}")
def get_run(run_id: UUID, db: ReadTx) -> ModelRun:
    """What a run was asked, what data it rests on, and what it found."""
    return queries.run(db, run_id)
