"""What the worker does: assign long lists, keep outcomes up with arrivals, take looks when they are due."""

from datetime import datetime
from functools import partial
from typing import Any

from services.experiments.actions import assignments, looks, outcomes, watching
from services.experiments.measures import ALARMS, ASSIGNED
from shared.db import transaction
from shared.jobs import JobContext, Jobs
from shared.telemetry import ARRIVAL_LAG, ARRIVAL_PENDING, log, seen_of

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


@jobs.handles("take-look")
def take_look(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """Take a look at many customers. Doing it again gives the same look, and spends nothing."""
    as_of = datetime.fromisoformat(arguments["as_of"]) if arguments["as_of"] else None
    begin = partial(transaction, context.engine)
    look, fresh = looks.take(begin, arguments["experiment"], as_of, context.progress)
    if fresh:
        log.info("look taken", experiment=arguments["experiment"], number=look.number, final=look.final)
    return look.model_dump(mode="json")


@jobs.every("* * * * * */2")
def count_outcomes(context: JobContext) -> None:
    """Count again whom arrivals touched."""
    begin = partial(transaction, context.engine)
    touched = outcomes.tick(begin)
    if touched:
        log.info("outcomes counted", customers=touched)


@jobs.measured
def measure_arrivals(context: JobContext) -> None:
    """How far counting is behind."""
    batches, age = outcomes.waiting(partial(transaction, context.engine))
    ARRIVAL_PENDING.labels("experiments", "outcomes").set(batches)
    ARRIVAL_LAG.labels("experiments", "outcomes").set(age)


@jobs.every("7 * * * * 0")
def take_looks(context: JobContext) -> None:
    """Take the daily looks that are due, and the last ones. Nothing is looked at in its first day."""
    begin = partial(transaction, context.engine)
    for key in looks.due(begin):
        try:
            taken = looks.take_due(begin, key)
        except Exception as error:  # whatever one experiment breaks on costs the others no look
            log.error("look broke", experiment=key, **seen_of(error))
            continue
        if taken is not None:
            log.info("look taken", experiment=key, number=taken.number, final=taken.final)


@jobs.every("* * * * * 30")
def watch_sample_ratios(context: JobContext) -> None:
    """Count the running experiments whose arms do not have the sizes they should have."""
    failing = watching.sample_ratio_failures(partial(transaction, context.engine))
    ALARMS.set(len(failing))
    for key in failing:
        log.warning("sample ratio failed", experiment=key)
