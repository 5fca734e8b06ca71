"""What the worker does: assign long lists, keep outcomes up with arrivals, take looks when they are due."""

from functools import partial
from typing import Any

from services.experiments.actions import assignments, outcomes
from services.experiments.measures import ASSIGNED
from shared.db import transaction
from shared.jobs import JobContext, Jobs
from shared.telemetry import ARRIVAL_LAG, ARRIVAL_PENDING, log

jobs = Jobs("experiments")


@jobs.handles("assign-list")
def assign_list(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """Assign a whole list. A worker that dies leaves nothing behind, and the next one does it all."""
    task = assignments.ListPlan.from_json(arguments["task"])
    begin = partial(transaction, context.engine)
    found = assignments.assign_list(begin, arguments["experiment"], task, context.progress)
    ASSIGNED.labels("list").inc(found.new)
    log.info("list assigned", experiment=found.experiment, assigned=found.assigned, new=found.new)
    return found.model_dump(mode="json")


@jobs.every("* * * * * */2")
def count_outcomes(context: JobContext) -> None:
    """Count again whom arrivals touched."""
    begin = partial(transaction, context.engine)
    touched = outcomes.tick(begin)
    batches, age = outcomes.waiting(begin)
    ARRIVAL_PENDING.labels("experiments", "outcomes").set(batches)
    ARRIVAL_LAG.labels("experiments", "outcomes").set(age)
    if touched:
        log.info("outcomes counted", customers=touched)
