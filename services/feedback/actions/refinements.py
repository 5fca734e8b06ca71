"""Asking for a better segment, and deciding on what was found."""

from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from pydantic import ValidationError

from services.feedback.queries import refinements as queries
from shared.clients.audience import AudienceClient
from shared.clients.experiments import ExperimentsClient
from shared.contracts.experiments import Experiment
from shared.contracts.feedback import NewRefinement, Refinement, Rejection
from shared.contracts.segments import Revision, Segment
from shared.db import Db, Engine, new_id, transaction
from shared.errors import Conflict, DomainError, FieldError, Invalid, PeerUnavailable
from shared.jobs import Job, enqueue
from shared.telemetry import log

JOB = "search-refinement"


class NotProposed(Conflict):
    """Only a proposal that waits for a decision can be accepted or rejected."""

    code = "refinement-not-proposed"


class OtherVersion(Conflict):
    """The experiment ran on another version of the segment than the one that would be changed."""

    code = "segment-version-passed"


class Outdated(Conflict):
    """What was proposed can no longer be made a version: today's rules of segments do not take it."""

    code = "refinement-outdated"


class Peers(NamedTuple):
    """Whom a refinement asks."""

    audience: AudienceClient
    experiments: ExperimentsClient


def checked(peers: Peers, new: NewRefinement) -> NewRefinement:
    """What is asked for, with the experiment's key, as the peers allow it.

    Raises `NotFound`, `OtherVersion`, `Invalid` where metric or segment are of no use here.
    """
    experiment = peers.experiments.experiment(new.experiment)
    check_population(peers.audience, experiment, peers.audience.segment(new.segment_id))
    measured = [metric.key for metric in experiment.measured]
    if new.metric not in measured:
        pointed = [FieldError("/metric", f"the experiment measures {', '.join(measured)}")]
        raise Invalid(f"Experiment {experiment.key} does not measure {new.metric}.", pointed)
    return new.model_copy(update={"experiment": experiment.key})


def request(db: Db, new: NewRefinement) -> Job:
    """Enqueue a search for what was checked."""
    refinement_id = new_id()
    job = enqueue(db, JOB, {"refinement": str(refinement_id)})
    queries.insert(db, refinement_id, new, job.id, datetime.now(UTC))
    return job


def end(db: Db, refinement_id: UUID, state: str, why: str) -> None:
    """Note that a search failed or was cancelled before it came to a verdict.

    Nobody has seen anything then, so it leaves the ledger. Its number, and with it its share of α, goes to the next
    search only where it was the last; else the gap stays, which spends less than was allowed.
    """
    queries.change(db, refinement_id, "searching", {"state": state, "verdict": why, "proposal": None})


def check_population(audience: AudienceClient, experiment: Experiment, segment: Segment) -> None:
    """Raise where the experiment's target list is not of this segment, as it stands now.

    Without a list nothing is known of where the customers came from, and nothing is checked.
    """
    if experiment.target_list_id is None:
        return
    drawn = audience.target_list(experiment.target_list_id)
    if drawn.segment_id != segment.id:
        pointed = [FieldError("/segment_id", f"the experiment's target list is of {drawn.segment_key}")]
        raise Invalid(f"Experiment {experiment.key} did not run on the segment {segment.key}.", pointed)
    if drawn.segment_version != segment.version:
        raise OtherVersion(
            f"Experiment {experiment.key} ran on version {drawn.segment_version} of {segment.key}, which is "
            f"at version {segment.version} now: what it found does not speak of that."
        )


def accept(engine: Engine, audience: AudienceClient, refinement_id: UUID) -> Refinement:
    """Make the proposal the segment's next version. Repeating it takes up where an earlier accept was cut off.

    That it is accepted is on record before audience is told, so that nobody can turn it down meanwhile. Raises
    `NotProposed`, `Outdated`, or `Conflict` where the segment was changed after the search; the proposal then waits
    again. Only where audience was told and its answer is not known does it stay `accepting`.
    """
    with transaction(engine) as db:
        found = queries.refinement(db, refinement_id, lock=True)
        if found.state == "accepted":
            return found
        if found.state != "accepting":
            _check_proposed(found, "accepted")
            queries.change(db, refinement_id, "proposed", {"state": "accepting"})
    try:
        version = _new_version(audience, found)
    except PeerUnavailable:
        raise  # it may have been heard or not: accepting stands until it is repeated
    except DomainError:
        with transaction(engine) as db:
            queries.change(db, refinement_id, "accepting", {"state": "proposed"})
        raise
    decision = {"state": "accepted", "new_version": version, "decided_at": datetime.now(UTC)}
    with transaction(engine) as db:
        queries.change(db, refinement_id, "accepting", decision)
        decided = queries.refinement(db, refinement_id)
    log.info("refinement accepted", refinement=str(refinement_id), version=version)
    return decided


def _new_version(audience: AudienceClient, found: Refinement) -> int:
    revision = _revision(found)
    try:
        return audience.revise_segment(found.segment_id, revision).version
    except Conflict as error:
        # Another accept, or an earlier one that was cut off, may have made this very version.
        segment = audience.segment(found.segment_id)
        if segment.definition == revision.definition and segment.version == (found.searched_version or 0) + 1:
            return segment.version
        raise Conflict("The segment was changed after the search; search again on its new version.") from error


def _revision(found: Refinement) -> Revision:
    """The version that is proposed. Raises `Outdated`: an earlier release may have worded and stored it otherwise."""
    note = f"Refinement {found.id}: {found.verdict}"[:1000]
    try:
        proposed = {"definition": found.definition, "evidence": _evidence(found), "based_on": found.searched_version}
        return Revision.model_validate({**proposed, "note": note})
    except (ValidationError, LookupError, TypeError) as error:
        log.warning("refinement outdated", refinement=str(found.id), kind=type(error).__name__)
        raise Outdated(
            f"Refinement {found.id} cannot be made a version of its segment any more; search again."
        ) from error


def _evidence(found: Refinement) -> dict[str, Any]:
    """What the confirmation showed, as the segment keeps it beside the version."""
    gain = found.evidence["gains"][0]
    shown = {"gain": gain["confirm"], "low": gain["low"], "forecast": gain["shrunken"], "alpha": found.alpha}
    return {"refinement_id": found.id, "experiment": found.experiment, "metric": found.metric, **shown}


def reject(db: Db, refinement_id: UUID, rejection: Rejection) -> Refinement:
    """Turn a proposal down. Repeating it changes nothing. Raises `NotProposed`."""
    found = queries.refinement(db, refinement_id, lock=True)
    if found.state == "rejected":
        return found
    _check_proposed(found, "rejected")
    decision = {"state": "rejected", "reason": rejection.reason, "decided_at": datetime.now(UTC)}
    queries.change(db, refinement_id, "proposed", decision)
    return queries.refinement(db, refinement_id)


def _check_proposed(found: Refinement, verb: str) -> None:
    if found.state != "proposed":
        raise NotProposed(f"Refinement {found.id} is {found.state}; only a proposed one can be {verb}.")
