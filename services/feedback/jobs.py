"""The long work of feedback."""

from typing import Any, cast
from uuid import UUID

from services.feedback.actions import models, refinements
from services.feedback.actions.refinements import Peers
from shared.clients.audience import AudienceClient
from shared.clients.experiments import ExperimentsClient
from shared.jobs import JobContext, Jobs

jobs = Jobs("feedback")


def _audience(context: JobContext) -> AudienceClient:
    return cast(AudienceClient, context.peers["audience"])


@jobs.handles(models.JOB)
def train_rfm(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """Score, publish, deliver."""
    run_id = UUID(arguments["run"])
    return models.run_training(context.engine, _audience(context), run_id, context.settings.currency)


@jobs.handles(refinements.JOB)
def search_refinement(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """Search one half, confirm on the other."""
    from services.feedback.actions import searching

    peers = Peers(_audience(context), cast(ExperimentsClient, context.peers["experiments"]))
    return searching.search(context.engine, peers, UUID(arguments["refinement"]))
