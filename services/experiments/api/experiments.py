"""Experiments over HTTP: their design and their life."""

from typing import Annotated

from fastapi import APIRouter, Body, Path

from services.experiments.actions import experiments as actions
from shared.auth import requires
from shared.bodies import StrictRoute
from shared.clients.audience import AudienceDep
from shared.contracts.experiments import Experiment, NewExperiment, State
from shared.db import EngineOf, ReadTx, Tx
from shared.idempotency import Once
from shared.pages import Page, Paged

router = APIRouter(
    prefix="/v1/experiments",
    tags=["experiments"],
    route_class=StrictRoute,
    dependencies=[requires("experiments:read")],
)
WRITES = [requires("experiments:write")]
EXAMPLE = {
    "key": "winter-jackets",
    "hypothesis": "A mail about jackets brings orders that would not come without it.",
    "arms": [
        {"key": "nobody", "weight": 0.2, "control": True},
        {"key": "mail", "weight": 0.8, "payload": {"template": "jackets"}, "cost_per_contact": "0.05"},
    ],
    "metrics": {"primary": "orders-14d", "secondary": ["revenue-14d"]},
    "planned_size": 20000,
}
NewBody = Annotated[NewExperiment, Body(openapi_examples={"mail": {"value": EXAMPLE}})]
Reference = Annotated[str, Path(max_length=100, description="the experiment's key or id")]


@router.post("", status_code=201, dependencies=WRITES)
def create_experiment(new: NewBody, db: Tx, engine: EngineOf, once: Once, audience: AudienceDep) -> Experiment:
    """Draft an experiment. Repeating the call with the same content changes nothing; other content is refused."""
    answered = once.answered(engine, new, Experiment)
    if answered is not None:
        return answered
    design = actions.checked(audience, new)
    return once(db, new, effect=lambda: actions.create(db, design), answer=Experiment)


@router.get("")
def list_experiments(db: ReadTx, page: Paged, state: State | None = None) -> Page[Experiment]:
    """Experiments, the newest first."""
    found = actions.listed(db, state, page.after, page.limit + 1)
    return page.answer(found, lambda each: [each.created_at.isoformat(), str(each.id)])


@router.get("/{key}")
def get_experiment(key: Reference, db: ReadTx) -> Experiment:
    """An experiment: design, state and what is measured."""
    return actions.experiment(db, key)


@router.post("/{key}/start", dependencies=WRITES)
def start_experiment(key: Reference, db: Tx) -> Experiment:
    """Freeze arms, weights, seed and metrics, and run. Nobody is assigned yet. Repeating it changes nothing."""
    return actions.start(db, key)


@router.post("/{key}/pause", dependencies=WRITES)
def pause_experiment(key: Reference, db: Tx) -> Experiment:
    """Assign nobody new for a while; outcomes are still counted. `start` goes on."""
    return actions.move(db, key, State.PAUSED)


@router.post("/{key}/stop", dependencies=WRITES)
def stop_experiment(key: Reference, db: Tx) -> Experiment:
    """Assign nobody any more. Outcomes are counted until the last window has closed."""
    return actions.move(db, key, State.STOPPED)


@router.post("/{key}/archive", dependencies=WRITES)
def archive_experiment(key: Reference, db: Tx) -> Experiment:
    """Put a stopped experiment away: nothing is counted any more.

    Refused (409) until its last window has closed and what usually arrives late is in; the answer says when that is.
    """
    return actions.move(db, key, State.ARCHIVED)
