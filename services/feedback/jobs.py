"""The long work of feedback."""

from typing import Any, cast
from uuid import UUID

from services.feedback.actions import models
from shared.clients.audience import AudienceClient
from shared.jobs import JobContext, Jobs

jobs = Jobs("feedback")


def _audience(context: JobContext) -> AudienceClient:
    return cast(AudienceClient, context.peers["audience"])


@jobs.handles(models.JOB)
def train_rfm(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """Score, publish, deliver."""
    run_id = UUID(arguments["run"])
    return models.run_training(context.engine, _audience(context), run_id, context.settings.currency)
