"""The composition root of feedback."""

from services.feedback.api import events, kinds, models, refinements, rejects
from services.feedback.jobs import jobs
from shared.clients.audience import AudienceClient
from shared.clients.experiments import ExperimentsClient
from shared.service import Service

service = Service(
    name="feedback",
    title="Attune feedback",
    description="Learn: take in what people do and say; say what to change.",
    version="0.1.0",
    routers=(events.router, kinds.router, rejects.router, models.router, refinements.router),
    jobs=jobs,
    peers={"audience": AudienceClient, "experiments": ExperimentsClient},
)
