"""What every replay and the story do with an experiment, over HTTP."""

import time
from datetime import datetime

from services.demo.client import Attune
from services.stack.trouble import Trouble
from shared.contracts.feedback import NewRefinement, Refinement
from shared.contracts.results import Look, NewLook, Results

COUNTED_WITHIN = 60.0


def wait_until_counted(attune: Attune, experiment: str) -> None:
    """Return once the outcomes hold everything that has arrived. Raises Trouble when that takes too long."""
    deadline = time.monotonic() + COUNTED_WITHIN
    while attune.experiments.get(Results, f"/v1/experiments/{experiment}/results").counted.pending_batches:
        if time.monotonic() > deadline:
            raise Trouble(f"Responses were not counted within {COUNTED_WITHIN:.0f} s: is the experiments worker up?")
        time.sleep(0.3)


def audited_results(attune: Attune, experiment: str) -> Results:
    """Results, everything counted anew from raw events as the audit.

    Raises
    ------
    Trouble
        When the full recount disagrees with what was accumulated.
    """
    results = attune.experiments.get(Results, f"/v1/experiments/{experiment}/results", refresh="full")
    if results.counted.agrees is not True:
        raise Trouble("The full recount of the outcomes disagrees with what was accumulated.")
    return results


def look(attune: Attune, experiment: str, as_of: datetime | None = None) -> Look:
    """Look at all that has arrived, as of now or of an earlier instant: a snapshot that spends its share of α."""
    wait_until_counted(attune, experiment)
    return attune.experiments.post(Look, f"/v1/experiments/{experiment}/looks", NewLook(as_of=as_of))


def refine(attune: Attune, experiment: str, segment: str, metric: str) -> Refinement:
    """Ask for a better segment and wait for the verdict; one that was given before stands."""
    for known in attune.feedback.items(Refinement, "/v1/refinements", experiment=experiment):
        if (known.segment_id, known.metric) == (segment, metric) and known.state not in ("searching", "failed"):
            return known
    done = attune.feedback.job(
        "/v1/refinements", NewRefinement(experiment=experiment, segment_id=segment, metric=metric)
    )
    return attune.feedback.get(Refinement, f"/v1/refinements/{done['refinement']}")
