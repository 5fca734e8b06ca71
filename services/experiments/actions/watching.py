"""Watching running experiments."""

from services.experiments import health
from services.experiments.actions.assignments import Begin
from services.experiments.actions.results import sizes_of
from services.experiments.queries import experiments, moments
from shared.contracts.experiments import State
from shared.contracts.results import CheckStatus


def sample_ratio_failures(begin: Begin) -> list[str]:
    """Keys of the running experiments whose arms do not have the sizes they should have."""
    failing = []
    with begin() as db:
        for experiment in experiments.in_state(db, State.RUNNING):
            sizes = sizes_of(experiment, moments.cohorts(db, experiment.id, None))
            if sum(size.assigned for size in sizes) and (
                health.sizes_check(experiment, sizes).status is CheckStatus.FAILED
            ):
                failing.append(experiment.key)
    return failing
