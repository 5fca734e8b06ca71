"""The search for a better segment: from an experiment to a verdict. Imported by the job alone, for its mathematics."""

from math import isfinite
from typing import Any, NamedTuple
from uuid import UUID

from services.feedback import refine
from services.feedback.actions.refinements import Peers, check_population
from services.feedback.queries import cells as cell_queries
from services.feedback.queries import refinements as queries
from services.feedback.queries import rules
from services.feedback.queries.cells import Counted, Measured, Population
from services.feedback.refine import Arm, Proposal, Spec, Verdict
from shared.clients.audience import AudienceClient
from shared.contracts.experiments import Experiment
from shared.contracts.feedback import Refinement
from shared.contracts.metrics import MONEY
from shared.contracts.results import CheckStatus, MetricResult, Results
from shared.contracts.segments import PreviewRequest, Segment
from shared.db import Engine, be_patient, read_only, take_whole_sets, transaction
from shared.errors import Invalid, PeerUnavailable
from shared.jobs import Progress
from shared.telemetry import log

UNLISTED = (
    " The experiment has no target list: that its customers are those of this segment is the word of whoever asked."
)


class Question(NamedTuple):
    """What is known of the experiment and the segment when the search begins. `listed`: the experiment has a list."""

    experiment: Experiment
    results: Results
    metric: MetricResult
    measured: Measured
    segment: Segment
    attributes: frozenset[str]

    @property
    def listed(self) -> bool:
        return self.experiment.target_list_id is not None


class Search(NamedTuple):
    """What came of a search: `by_rule` counts the customers of the experiment whom the rule, as it is worded, keeps."""

    proposal: Proposal
    counted: Counted
    by_rule: int


def search(engine: Engine, peers: Peers, refinement_id: UUID, progress: Progress) -> dict[str, Any]:
    """The job: reduce the experiment to cells, search one half, confirm on the other, and store the verdict."""
    with read_only(engine) as db:
        found = queries.refinement(db, refinement_id)
    if found.state == "searching":
        _search(engine, peers, found, progress)
    with read_only(engine) as db:
        ended = queries.refinement(db, refinement_id)
    log.info("refinement searched", refinement=str(refinement_id), state=ended.state)
    return {"refinement": str(refinement_id), "state": ended.state, "verdict": ended.verdict}


def _search(engine: Engine, peers: Peers, found: Refinement, progress: Progress) -> None:
    question = _question(peers, found)
    progress(0.1)
    with transaction(engine) as db:
        attempt = queries.number(db, found)
    searched = _searched(engine, question, attempt, progress)
    progress(0.9)
    proposal = searched.proposal
    evidence = _evidence(question, searched)
    state, verdict = "nothing", proposal.summary
    if not searched.counted.mature:
        verdict += _waited_for(question)
    if proposal.verdict is Verdict.PROPOSE:
        evidence["counts"] = _counts(peers.audience, question, searched)
        doubt = _doubt(evidence["counts"])
        state = "nothing" if doubt else "proposed"
        verdict = doubt or proposal.summary + ("" if question.listed else UNLISTED)
    looked = proposal.verdict not in (Verdict.UNHEALTHY, Verdict.TOO_FEW)  # else nothing was spent
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
        queries.change(db, found.id, "searching", conclusion)


def _waited_for(question: Question) -> str:
    """Why nobody is mature yet, in the words of the results."""
    notes = dict.fromkeys(note for effect in question.metric.effects for note in effect.notes)
    return f" Nobody counts yet: {'; '.join(notes)}." if notes else ""


def _doubt(counts: dict[str, Any]) -> str:
    """Why a confirmed rule is not proposed, or the empty string."""
    if counts["rule"] != counts["cells"]:
        return (
            f"A rule was confirmed for {counts['cells']} customers of the experiment, but as it is worded it keeps "
            f"{counts['rule']} of them: a value among their features is not of the type that the rule compares."
        )
    if counts["comparable"] and counts["audience"] != counts["cells"]:
        return (
            f"A rule was confirmed, but audience counts {counts['audience']} customers by it and the experiment "
            f"{counts['cells']}: the portraits have changed since. Try the segment as it is now."
        )
    return ""


def _question(peers: Peers, found: Refinement) -> Question:
    experiment = peers.experiments.experiment(found.experiment)
    results = peers.experiments.results(found.experiment)
    metric = next((metric for metric in results.metrics if metric.metric == found.metric), None)
    if metric is None:
        raise Invalid(f"Experiment {found.experiment} has no result for {found.metric}.")
    if metric.mature_until is None and any(arm.mature for arm in metric.arms):
        raise PeerUnavailable("experiments, still of an earlier release, does not say who is mature; ask again.")
    segment = peers.audience.segment(found.segment_id)
    check_population(peers.audience, experiment, segment)
    names = frozenset(attribute.name for attribute in peers.audience.attributes())
    cap = peers.experiments.metric(metric.metric, metric.version).cap
    measured = Measured(metric.metric, metric.version, None if cap is None else float(cap))
    return Question(experiment, results, metric, measured, segment, names)


def _searched(engine: Engine, question: Question, attempt: int, progress: Progress) -> Search:
    """Search and confirm over the customers whom the results call mature."""
    experiment = question.experiment
    population = Population(experiment.id, question.metric.mature_until)
    keys = [arm.key for arm in experiment.arms]
    with read_only(engine) as db:
        be_patient(db)
        take_whole_sets(db)
        counted = cell_queries.count(db, population)
        progress(0.2)
        profiles = cell_queries.profiles(db, population, counted.mature, question.attributes)
        codings = refine.codings(profiles, counted.mature)
        progress(0.4)
        halves = cell_queries.cells(db, population, question.measured, keys, codings, experiment.key)
    progress(0.6)
    grow, confirm = (refine.cells_of(half, len(codings)) for half in halves)
    proposal = refine.refine(grow, confirm, _spec(question, codings, attempt))
    progress(0.8)
    with read_only(engine) as db:
        be_patient(db)
        take_whole_sets(db)
        by_rule = rules.count(db, population, proposal.clauses) if proposal.clauses else counted.mature
    return Search(proposal, counted, by_rule)


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


def _evidence(question: Question, searched: Search) -> dict[str, Any]:
    proposal, counted = searched.proposal, searched.counted
    told = proposal._asdict() | {
        "gains": [gain._asdict() for gain in proposal.gains],
        "groups": [group._asdict() for group in proposal.groups],
        "assigned": counted.assigned,
        "mature": counted.mature,
        "metric_version": question.metric.version,
        "target_list": str(question.experiment.target_list_id) if question.listed else None,
        "results_as_of": question.results.as_of.isoformat(),
        "health": [check.model_dump(mode="json") for check in question.results.health],
    }
    left = ("definition", "clauses", "summary", "alpha", "attempt")
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


def _counts(audience: AudienceClient, question: Question, searched: Search) -> dict[str, Any]:
    """The rule counted three ways.

    `cells` is what was confirmed and `rule` what the rule, as it is worded, keeps of the same customers: they must
    agree. `audience` counts by today's portraits, of all customers, and `segment` the version as it stands; they are
    `comparable` where the experiment took in the whole segment.
    """
    proposal, counted = searched.proposal, searched.counted
    by_audience = [
        audience.preview_segment(PreviewRequest.model_validate({"definition": definition})).count
        for definition in (_definition(question.segment), proposal.definition)
    ]
    return {
        "segment": by_audience[0],
        "audience": by_audience[1],
        "cells": sum(group.of_both_halves for group in proposal.groups if group.kept),
        "rule": searched.by_rule,
        "comparable": by_audience[0] == counted.assigned == counted.mature,
    }
