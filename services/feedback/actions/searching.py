"""The search for a better segment: from an experiment to a verdict. Imported by the job alone, for its mathematics."""

from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any, NamedTuple
from uuid import UUID

from services.feedback import refine
from services.feedback.actions.refinements import Peers
from services.feedback.queries import cells as cell_queries
from services.feedback.queries import refinements as queries
from services.feedback.queries.cells import Counted, Measured, Population
from services.feedback.refine import Arm, Proposal, Spec, Verdict
from shared.clients.audience import AudienceClient
from shared.contracts.experiments import Experiment
from shared.contracts.feedback import Refinement
from shared.contracts.metrics import MONEY
from shared.contracts.results import CheckStatus, MetricResult, Results
from shared.contracts.segments import PreviewRequest, Segment
from shared.db import Engine, read_only, transaction
from shared.errors import DomainError, Invalid, PeerUnavailable
from shared.telemetry import log


class Question(NamedTuple):
    """What is known of the experiment and the segment when the search begins."""

    experiment: Experiment
    results: Results
    metric: MetricResult
    segment: Segment
    attributes: frozenset[str]


def search(engine: Engine, peers: Peers, refinement_id: UUID) -> dict[str, Any]:
    """The job: reduce the experiment to cells, search one half, confirm on the other, and store the verdict."""
    with read_only(engine) as db:
        found = queries.refinement(db, refinement_id)
    if found.state == "searching":
        try:
            _search(engine, peers, found)
        except PeerUnavailable:
            raise
        except DomainError as error:
            with transaction(engine) as db:
                queries.conclude(db, refinement_id, {"state": "failed", "verdict": error.detail})
            raise
    with read_only(engine) as db:
        ended = queries.refinement(db, refinement_id)
    log.info("refinement searched", refinement=str(refinement_id), state=ended.state)
    return {"refinement": str(refinement_id), "state": ended.state, "verdict": ended.verdict}


def _search(engine: Engine, peers: Peers, found: Refinement) -> None:
    question = _question(peers, found)
    with transaction(engine) as db:
        attempt = queries.number(db, found)
    proposal, counted = _proposal(engine, question, attempt)
    evidence = _evidence(question, proposal, counted)
    state, verdict = "nothing", proposal.summary
    if proposal.verdict is Verdict.PROPOSE:
        counts = _counts(peers.audience, question, proposal, counted)
        evidence["counts"] = counts
        state = "proposed"
        if counts["comparable"] and counts["audience"] != counts["cells"]:
            state = "nothing"
            verdict = (
                f"A rule was confirmed, but audience counts {counts['audience']} customers by it and the experiment "
                f"{counts['cells']}: the portraits have changed since. Try the segment as it is now."
            )
    looked = proposal.verdict not in (Verdict.UNHEALTHY, Verdict.TOO_FEW)  # else nothing was spent: the number is free
    conclusion = {
        "state": state,
        "verdict": verdict,
        "proposal": attempt if looked else None,
        "alpha": proposal.alpha if looked else None,
        "definition": proposal.definition if state == "proposed" else None,
        "evidence": evidence,
        "searched_version": question.segment.version,
    }
    with transaction(engine) as db:
        queries.conclude(db, found.id, conclusion)


def _question(peers: Peers, found: Refinement) -> Question:
    experiment = peers.experiments.experiment(found.experiment)
    results = peers.experiments.results(found.experiment)
    metric = next((metric for metric in results.metrics if metric.metric == found.metric), None)
    if metric is None:
        raise Invalid(f"Experiment {found.experiment} has no result for {found.metric}.")
    segment = peers.audience.segment(found.segment_id)
    names = frozenset(attribute.name for attribute in peers.audience.attributes())
    return Question(experiment, results, metric, segment, names)


def _proposal(engine: Engine, question: Question, attempt: int) -> tuple[Proposal, Counted]:
    """Search and confirm over the customers whose window has closed."""
    experiment, metric = question.experiment, question.metric
    until = datetime.now(UTC) - timedelta(days=metric.window_days)
    population = Population(experiment.id, until)
    keys = [arm.key for arm in experiment.arms]
    with read_only(engine) as db:
        cell_queries.be_patient(db)
        counted = cell_queries.count(db, population)
        profiles = cell_queries.profiles(db, population, counted.mature, question.attributes)
        codings = refine.codings(profiles, counted.mature)
        halves = cell_queries.cells(db, population, Measured(metric.metric, metric.version), keys, codings)
    grow, confirm = (refine.cells_of(half, len(codings)) for half in halves)
    return refine.refine(grow, confirm, _spec(question, codings, attempt)), counted


def _spec(question: Question, codings: tuple[refine.Coding, ...], attempt: int) -> Spec:
    experiment, metric = question.experiment, question.metric
    money = metric.kind in MONEY
    return Spec(
        arms=tuple(
            Arm(arm.key, arm.control, float(arm.cost_per_contact or 0) if money and arm.contacted else 0.0)
            for arm in experiment.arms
        ),
        codings=codings,
        current=_definition(question.segment),
        metric=metric.name or metric.metric,
        money=money,
        direction=metric.direction,
        attempt=attempt,
        alpha=experiment.alpha,
        problems=tuple(check.detail for check in question.results.health if check.status is CheckStatus.FAILED),
    )


def _definition(segment: Segment) -> dict[str, Any]:
    found: dict[str, Any] = segment.model_dump(mode="json", by_alias=True, exclude_none=True)["definition"]
    return found


def _evidence(question: Question, proposal: Proposal, counted: Counted) -> dict[str, Any]:
    told = proposal._asdict() | {
        "gains": [gain._asdict() for gain in proposal.gains],
        "groups": [group._asdict() for group in proposal.groups],
        "assigned": counted.assigned,
        "mature": counted.mature,
        "metric_version": question.metric.version,
        "results_as_of": question.results.as_of.isoformat(),
        "health": [check.model_dump(mode="json") for check in question.results.health],
    }
    left = ("definition", "summary", "alpha", "attempt")
    return {name: _plain(value) for name, value in told.items() if name not in left}


def _plain(value: Any) -> Any:
    """Into JSON: what could not be estimated becomes null, never a number."""
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _counts(audience: AudienceClient, question: Question, proposal: Proposal, counted: Counted) -> dict[str, Any]:
    """Audience's count of the rule beside the cells'; comparable where the experiment took in the whole segment."""
    by_audience = [
        audience.preview_segment(PreviewRequest.model_validate({"definition": definition})).count
        for definition in (_definition(question.segment), proposal.definition)
    ]
    kept = sum(group.of_both_halves for group in proposal.groups if group.kept)
    return {
        "segment": by_audience[0],
        "audience": by_audience[1],
        "cells": kept,
        "comparable": by_audience[0] == counted.assigned == counted.mature,
    }
