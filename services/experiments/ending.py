"""When nothing more is to come: nobody is still to join, and everybody's window has closed. Pure."""

from datetime import datetime
from typing import NamedTuple

from shared.contracts.experiments import Experiment, Method


class Horizon(NamedTuple):
    """How many customers make an experiment whole, and whether it was stopped before.

    `customers` is None where nobody knows: of a confidence sequence that enrols, only stopping is an end. `planned` is
    the number that was wanted; who ends below it has stopped early.
    """

    customers: int | None
    planned: int | None
    stopped: bool

    def whole(self, assigned: int) -> bool:
        """Whether as many were assigned as there will be, without anybody stopping it."""
        return self.customers is not None and assigned >= self.customers

    def early(self, assigned: int) -> bool:
        """Whether an end with so many customers comes before the planned one."""
        return self.planned is not None and assigned < self.planned

    def ended(self, assigned: int, mature: int) -> bool:
        """Whether of those assigned everybody is mature, and nobody is still to join."""
        return 0 < assigned == mature and (self.stopped or self.whole(assigned))


def horizon(experiment: Experiment, population: int | None, as_of: datetime) -> Horizon:
    """What is known of the end, as of an instant. `population`: the size of the frozen list or load, if there is one.

    Neither more than the population nor more than `planned_size` is waited for; a confidence sequence goes on past the
    planned size, where it is tightest.
    """
    known = [size for size in (population, experiment.planned_size) if size is not None]
    planned = min(known, default=None)
    customers = population if experiment.method is Method.CONFIDENCE_SEQUENCE else planned
    stopped = experiment.stopped_at is not None and experiment.stopped_at <= as_of
    return Horizon(customers, planned, stopped)
