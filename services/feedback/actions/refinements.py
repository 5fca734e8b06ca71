"""Asking for a better segment, and deciding on what was found."""

from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from services.feedback.queries import refinements as queries
from shared.clients.audience import AudienceClient
from shared.clients.experiments import ExperimentsClient
from shared.contracts.feedback import NewRefinement, Refinement, Rejection
from shared.contracts.segments import Revision
from shared.db import Db, Engine, new_id, read_only, transaction
from shared.errors import Conflict, FieldError, Invalid
from shared.jobs import Job, enqueue
from shared.telemetry import log

JOB = "search-refinement"


class NotProposed(Conflict):
    """Only a proposal that waits for a decision can be accepted or rejected."""

    code = "refinement-not-proposed"


class Peers(NamedTuple):
    """Whom a refinement asks."""

    audience: AudienceClient
    experiments: ExperimentsClient


def request(db: Db, peers: Peers, new: NewRefinement) -> Job:
    """Enqueue a search. Raises `NotFound`, `Invalid` where the experiment does not measure the metric."""
    experiment = peers.experiments.experiment(new.experiment)
    peers.audience.segment(new.segment_id)
    measured = [metric.key for metric in experiment.measured]
    if new.metric not in measured:
        pointed = [FieldError("/metric", f"the experiment measures {', '.join(measured)}")]
        raise Invalid(f"Experiment {experiment.key} does not measure {new.metric}.", pointed)
    refinement_id = new_id()
    job = enqueue(db, JOB, {"refinement": str(refinement_id)})
    queries.insert(db, refinement_id, new.model_copy(update={"experiment": experiment.key}), job.id, datetime.now(UTC))
    return job


def accept(engine: Engine, audience: AudienceClient, refinement_id: UUID) -> Refinement:
    """Make the proposal the segment's next version. Repeating it gives the same answer.

    Raises `NotProposed`, or `Conflict` where the segment was changed after the search.
    """
    with read_only(engine) as db:
        found = queries.refinement(db, refinement_id)
    if found.state == "accepted":
        return found
    _check_proposed(found, "accepted")
    version = _new_version(audience, found)
    with transaction(engine) as db:
        decision = {"state": "accepted", "new_version": version, "decided_at": datetime.now(UTC)}
        queries.decide(db, refinement_id, decision)
        decided = queries.refinement(db, refinement_id)
    if decided.state != "accepted":
        raise NotProposed(f"Refinement {refinement_id} was {decided.state} meanwhile.")
    log.info("refinement accepted", refinement=str(refinement_id), version=version)
    return decided


def _new_version(audience: AudienceClient, found: Refinement) -> int:
    note = f"Refinement {found.id}: {found.verdict}"[:1000]
    revision = Revision.model_validate(
        {"definition": found.definition, "note": note, "based_on": found.searched_version}
    )
    try:
        return audience.revise_segment(found.segment_id, revision).version
    except Conflict as error:
        # Another accept, or an earlier one that was cut off, may have made this very version.
        segment = audience.segment(found.segment_id)
        if segment.definition == revision.definition and segment.version == (found.searched_version or 0) + 1:
            return segment.version
        raise Conflict("The segment was changed after the search; search again on its new version.") from error


def reject(db: Db, refinement_id: UUID, rejection: Rejection) -> Refinement:
    """Turn a proposal down. Repeating it changes nothing. Raises `NotProposed`."""
    found = queries.refinement(db, refinement_id, lock=True)
    if found.state == "rejected":
        return found
    _check_proposed(found, "rejected")
    decision = {"state": "rejected", "reason": rejection.reason, "decided_at": datetime.now(UTC)}
    queries.decide(db, refinement_id, decision)
    return queries.refinement(db, refinement_id)


def _check_proposed(found: Refinement, verb: str) -> None:
    if found.state != "proposed":
        raise NotProposed(f"Refinement {found.id} is {found.state}; only a proposed one can be {verb}.")
