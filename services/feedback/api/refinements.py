"""Refinements over HTTP: ask for one, look, decide."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Query
from fastapi.responses import JSONResponse

from services.feedback.actions import refinements as actions
from services.feedback.actions.refinements import Peers
from services.feedback.queries import refinements as queries
from shared.auth import requires
from shared.bodies import StrictRoute
from shared.clients.audience import AudienceDep
from shared.clients.experiments import ExperimentsDep
from shared.contracts.base import Key
from shared.contracts.feedback import NewRefinement, Refinement, Rejection
from shared.db import EngineOf, ReadTx, Tx
from shared.idempotency import Once
from shared.jobs import Job
from shared.pages import Page, Paged
from shared.service import ACCEPTED, accepted

router = APIRouter(
    prefix="/v1/refinements", tags=["refinements"], route_class=StrictRoute, dependencies=[requires("feedback:read")]
)
WRITES = [requires("feedback:write")]
EXAMPLE = {"experiment": "spring-mail", "segment_id": "lapsing", "metric": "profit-14d"}


@router.post("", status_code=202, responses=ACCEPTED, dependencies=WRITES)
def request_refinement(
    new: Annotated[NewRefinement, Body(openapi_examples={"mail": {"value": EXAMPLE}})],
    db: Tx,
    engine: EngineOf,
    once: Once,
    audience: AudienceDep,
    experiments: ExperimentsDep,
) -> JSONResponse:
    """Look for a change of the segment that would have earned more in this experiment.

    The change is searched on half of the customers and confirmed on the others; "nothing" is the usual verdict.
    """
    job = once.answered(engine, new, Job)
    if job is None:
        checked = actions.checked(Peers(audience, experiments), new)
        job = once(db, new, effect=lambda: actions.request(db, checked), answer=Job)
    return accepted(job)


@router.get("")
def list_refinements(db: ReadTx, page: Paged, experiment: Annotated[Key | None, Query()] = None) -> Page[Refinement]:
    """All that were asked for, with their verdicts, newest first."""
    return page.answer(queries.refinements(db, experiment, page), lambda found: [str(found.id)])


@router.get("/{refinement_id}")
def get_refinement(refinement_id: UUID, db: ReadTx) -> Refinement:
    """What came out, in words and with the evidence."""
    return queries.refinement(db, refinement_id)


@router.post("/{refinement_id}/accept", dependencies=WRITES)
def accept_refinement(refinement_id: UUID, engine: EngineOf, audience: AudienceDep) -> Refinement:
    """Make the proposal the segment's next version. Of two accepts at once both get the same answer."""
    return actions.accept(engine, audience, refinement_id)


@router.post("/{refinement_id}/reject", dependencies=WRITES)
def reject_refinement(
    refinement_id: UUID,
    rejection: Annotated[Rejection, Body(openapi_examples={"small": {"value": {"reason": "Too small to run."}}})],
    db: Tx,
) -> Refinement:
    """Turn the proposal down, and say why."""
    return actions.reject(db, refinement_id, rejection)
