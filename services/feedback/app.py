"""The composition root of feedback."""

from services.feedback.api import events, kinds, rejects
from shared.jobs import Jobs
from shared.service import Service

jobs = Jobs("feedback")

service = Service(
    name="feedback",
    title="Attune feedback",
    description="Learn: take in what people do and say; say what to change.",
    version="0.1.0",
    routers=(events.router, kinds.router, rejects.router),
    jobs=jobs,
    peers={},
)
