"""The long work of feedback."""

from typing import Any, cast
from uuid import UUID

from services.feedback.actions import models, refinements
from services.feedback.actions.refinements import Peers
from shared.clients.audience import AudienceClient
from shared.clients.experiments import ExperimentsClient
from shared.db import Db
from shared.jobs import JobContext, Jobs

jobs = Jobs("feedback")


def _audience(context: JobContext) -> AudienceClient:
    return cast(AudienceClient, context.peers["audience"])


@jobs.handles(models.JOB)
def train_rfm(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """Score, publish, deliver."""
    run_id = UUID(arguments["run"])
    return models.run_training(context.engine, _audience(context), run_id, context.settings.currency, context.progress)


@jobs.ended(models.JOB)
def end_training(db: Db, arguments: dict[str, Any], state: str, why: str) -> None:
    """The run shows that it will not be published; one that is published stays so, delivered or not."""
    models.end(db, UUID(arguments["run"]), state)


@jobs.ended(refinements.JOB)
def end_search(db: Db, arguments: dict[str, Any], state: str, why: str) -> None:
    """The refinement shows that its search will not come to a verdict."""
    refinements.end(db, UUID(arguments["refinement"]), state, why)


@jobs.handles(refinements.JOB)
def search_refinement(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """Search one half, confirm on the other."""
    from services.feedback.actions import searching

    peers = Peers(_audience(context), cast(ExperimentsClient, context.peers["experiments"]))
    return searching.search(context.engine, peers, UUID(arguments["refinement"]), context.progress)
