"""The service put together: its endpoints, its jobs, and whom it calls."""

from services.experiments.api import assignments, experiments, metrics, report, results, uplift
from services.experiments.jobs import jobs
from shared.clients.audience import AudienceClient
from shared.service import Service

service = Service(
    name="experiments",
    title="Attune experiments",
    description="Try: give everyone an arm, and say what the difference was.",
    version="0.1.0",
    routers=(
        assignments.router,  # routes are tried in order, and one customer's arm is asked for most often
        metrics.router,
        experiments.router,
        results.router,
        uplift.router,
        report.router,
    ),
    jobs=jobs,
    peers={"audience": AudienceClient},
)
