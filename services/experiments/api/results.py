"""Results over HTTP: the figures, the looks and the decision."""

from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Body, Path, Query, Response
from fastapi.responses import JSONResponse

from services.experiments.actions import looks
from services.experiments.actions import results as actions
from shared.auth import requires
from shared.bodies import StrictRoute
from shared.contracts.base import Instant
from shared.contracts.results import Decision, History, Look, NewLook, Results
from shared.db import EngineOf, ReadTx, transaction
from shared.jobs import enqueue
from shared.service import ACCEPTED, accepted

router = APIRouter(
    prefix="/v1/experiments/{key}",
    tags=["results"],
    route_class=StrictRoute,
    dependencies=[requires("experiments:read")],
)
Reference = Annotated[str, Path(max_length=100, description="the experiment's key or id")]
AsOf = Annotated[Instant | None, Query(description="count what had happened by then, from raw events")]
Refresh = Annotated[
    Literal["incremental", "full"], Query(description="`full` counts everything anew and compares: the audit")
]


@router.get("/results")
def get_results(key: Reference, db: ReadTx, as_of: AsOf = None, refresh: Refresh = "incremental") -> Results:
    """Health first, then every metric's effects, then money. Reading spends nothing of α; looks do."""
    return actions.results(db, key, as_of, full=refresh == "full")


@router.get("/results/history")
def get_history(key: Reference, db: ReadTx) -> History:
    """Effects and intervals of every look, for plots over time."""
    return actions.history(db, key)


@router.get("/decision")
def get_decision(key: Reference, db: ReadTx) -> Decision:
    """Ship, stop or keep running, with the reasons in plain words."""
    return actions.decide(db, key)


@router.get("/looks")
def list_looks(key: Reference, db: ReadTx) -> list[Look]:
    """The looks taken so far, oldest first."""
    return actions.taken(db, key)


@router.post(
    "/looks",
    status_code=201,
    response_model=Look,
    responses=ACCEPTED,
    dependencies=[requires("experiments:write")],
)
def take_look(
    key: Reference,
    engine: EngineOf,
    response: Response,
    new: Annotated[NewLook | None, Body(openapi_examples={"now": {"value": {}}})] = None,
) -> Look | JSONResponse:
    """Take a look: a stored snapshot that spends its share of α. Asking again for the same day gives it again (200).

    At once (201), or as a job where there are many customers (202); the job's result is the look.
    """
    begin, as_of = partial(transaction, engine), new.as_of if new else None
    found = looks.prospect(begin, key, as_of)
    if isinstance(found, int) and found > looks.INLINE:
        with begin() as db:
            task = {"experiment": key, "as_of": as_of.isoformat() if as_of else None}
            return accepted(enqueue(db, "take-look", task))
    look, fresh = (found, False) if isinstance(found, Look) else looks.take(begin, key, as_of)
    if not fresh:
        response.status_code = 200
    return look
