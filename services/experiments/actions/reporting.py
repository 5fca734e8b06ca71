"""Everything about an experiment, for the page that people read."""

from services.experiments import decision
from services.experiments.actions import results, uplift
from services.experiments.actions.assignments import Begin
from services.experiments.queries import experiments
from services.experiments.report import Report, render
from shared.clients.audience import AudienceClient
from shared.contracts.experiments import Experiment
from shared.contracts.targeting import FunnelStep
from shared.errors import NotFound, PeerUnavailable
from shared.telemetry import log


def page(begin: Begin, audience: AudienceClient, reference: str) -> str:
    """The report as HTML. It needs no audience: without it the list's funnel is left out. Raises `NotStarted`."""
    with begin() as db:
        experiment = experiments.experiment(db, reference)
        found, history = results.results(db, reference), results.history(db, reference)
    decided = decision.decide(experiment, found)
    uplifts, policies = uplift.every_arm(begin, reference)
    return render(Report(experiment, found, decided, history, uplifts, policies, _funnel(audience, experiment)))


def _funnel(audience: AudienceClient, experiment: Experiment) -> list[FunnelStep]:
    if experiment.target_list_id is None:
        return []
    try:
        return audience.target_list(experiment.target_list_id).funnel
    except (PeerUnavailable, NotFound) as error:
        log.warning("report without funnel", experiment=experiment.key, error=type(error).__name__)
        return []
