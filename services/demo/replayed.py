"""What every replay and the story do with an experiment, over HTTP."""

import time
from typing import Any

from pydantic import TypeAdapter

from services.demo.client import Attune
from services.stack.trouble import Trouble
from shared.contracts.feedback import NewRefinement, Refinement
from shared.contracts.results import Look, Results

COUNTED_WITHIN = 60.0


def counted_results(attune: Attune, experiment: str) -> Results:
    """Results once everything that arrived is counted, recounted in full as the audit.

    Raises
    ------
    Trouble
        When counting does not catch up in time, or the full recount disagrees with what was accumulated.
    """
    path = f"/v1/experiments/{experiment}/results"
    deadline = time.monotonic() + COUNTED_WITHIN
    while attune.experiments.get(Results, path).counted.pending_batches:
        if time.monotonic() > deadline:
            raise Trouble(f"Responses were not counted within {COUNTED_WITHIN:.0f} s: is the experiments worker up?")
        time.sleep(0.2)
    results = attune.experiments.get(Results, path, refresh="full")
    if results.counted.agrees is not True:
        raise Trouble("The full recount of the outcomes disagrees with what was accumulated.")
    return results


def look(attune: Attune, experiment: str) -> Look:
    """Take a look: a stored snapshot that spends its share of the allowed error."""
    return attune.experiments.post(Look, f"/v1/experiments/{experiment}/looks")


def refine(attune: Attune, experiment: str, segment: str, metric: str) -> Refinement:
    """Ask for a better segment and wait for the verdict."""
    wanted = NewRefinement(experiment=experiment, segment_id=segment, metric=metric)
    asked: dict[str, Any] = attune.feedback.post(dict[str, Any], "/v1/refinements", wanted)
    refinement = TypeAdapter(Refinement).validate_python(asked)
    if refinement.job is not None:
        attune.feedback.wait(f"/v1/jobs/{refinement.job}")
    return attune.feedback.get(Refinement, f"/v1/refinements/{refinement.id}")
