"""Reading what the difference is. Reading spends nothing."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from services.experiments import decision, figures, health, looking, money, readout
from services.experiments.actions import looks
from services.experiments.figures import Cohort, Figures, Sums
from services.experiments.looking import Contrast, Extras, Moment
from services.experiments.queries import experiments, moments, outcomes
from services.experiments.queries import looks as look_queries
from shared.contracts.experiments import Experiment, Method, Population, State
from shared.contracts.results import (
    ArmSize,
    Counted,
    Decision,
    Design,
    History,
    Look,
    Results,
    SeriesPoint,
)
from shared.db import Db
from shared.errors import Conflict, FieldError, Invalid

BALANCED_OVER = 5000  # customers whose features are compared


class NotStarted(Conflict):
    """A draft has no results."""

    code = "not-started"


class Counting(NamedTuple):
    """What was counted, how, and until when."""

    counted: Counted
    cohorts: list[Cohort]
    sums: list[Sums]
    as_of: datetime


def results(db: Db, reference: str, as_of: datetime | None = None, *, full: bool = False) -> Results:
    """The results as of now, or of an instant in the past (always counted anew). `full` counts anew and compares.

    Raises `NotStarted`, `Invalid` (an instant in the future).
    """
    experiment = experiments.experiment(db, reference)
    if experiment.state is State.DRAFT:
        raise NotStarted(f"{experiment.key} has not started.")
    counting = _count(db, experiment, as_of, full)
    metrics = experiments.measured(db, experiment.id)
    sizes = sizes_of(experiment, counting.cohorts)
    until = counting.counted.until
    found = [figures.figures(each, experiment.arms, counting.cohorts, counting.sums, until) for each in metrics]
    past = looks.history(db, experiment)
    said = readout.results(experiment, found, _seen(db, experiment, found, counting, past))
    vitals = health.Vitals(
        experiment,
        sizes,
        metrics,
        counting.sums,
        moments.discrepancies(db, experiment.id),
        moments.balance(db, experiment.id, BALANCED_OVER),
        counting.counted.pending_batches,
    )
    return Results(
        experiment=experiment.key,
        name=experiment.name,
        hypothesis=experiment.hypothesis,
        state=experiment.state.value,
        as_of=counting.as_of,
        counted=counting.counted,
        method=experiment.method,
        design=_design(experiment, counting.cohorts),
        alpha=experiment.alpha,
        arms=sizes,
        health=health.checks(vitals),
        look=past.latest,
        metrics=said,
        money=money.money(experiment, sizes, said),
    )


def decide(db: Db, reference: str) -> Decision:
    """What to do now, with the reasons."""
    return decision.decide(experiments.experiment(db, reference), results(db, reference))


def history(db: Db, reference: str) -> History:
    """Every look's effects, for plots over time."""
    experiment = experiments.experiment(db, reference)
    taken = looks.history(db, experiment).looks
    return History(experiment=experiment.key, points=[point for look in taken for point in _points(look)])


def taken(db: Db, reference: str) -> list[Look]:
    """The looks of an experiment, oldest first."""
    return looks.history(db, experiments.experiment(db, reference)).looks


def _points(look: Look) -> list[SeriesPoint]:
    return [
        SeriesPoint(
            look=look.number,
            as_of=look.as_of,
            metric=effect.metric,
            arm=effect.arm,
            estimate=effect.estimate,
            low=effect.low,
            high=effect.high,
            p_value=effect.p_value,
        )
        for effect in look.effects
    ]


def _count(db: Db, experiment: Experiment, as_of: datetime | None, full: bool) -> Counting:
    now = datetime.now(UTC)
    if as_of is not None and as_of > now:
        raise Invalid("Nobody knows that yet.", [FieldError("#query/as_of", "lies in the future")])
    pending = outcomes.pending(db)
    lag = pending.usual_lag if pending else timedelta(0)
    recounted = now if full and as_of is None else as_of
    reached = recounted or (pending.moved_at if pending else now)
    if recounted is None and pending and pending.oldest is not None:
        reached = min(reached, pending.oldest)
    counted = Counted(
        position=pending.xid if pending else "0",
        until=min(reached, now - lag) if recounted else reached - lag,
        pending_batches=pending.batches if pending else 0,
        refresh="incremental" if recounted is None else "full",
        agrees=moments.disagreements(db, experiment.id) == 0 if full else None,
    )
    cohorts = moments.cohorts(db, experiment.id, recounted)
    return Counting(counted, cohorts, moments.sums(db, experiment.id, recounted), as_of or now)


def sizes_of(experiment: Experiment, cohorts: Sequence[Cohort]) -> list[ArmSize]:
    """The arms with the customers they got."""
    found = []
    for arm in experiment.arms:
        assigned = figures.customers_of(cohorts, arm.key)
        found.append(
            ArmSize(
                arm=arm.key,
                control=arm.control,
                contact=arm.contacted,
                weight=arm.weight,
                assigned=assigned,
                contacts=assigned if arm.contacted else 0,
            )
        )
    return found


def _design(experiment: Experiment, cohorts: Sequence[Cohort]) -> Design:
    """How customers came in."""
    frozen = experiment.population in (Population.LIST, Population.EXTERNAL) or experiment.target_list_id is not None
    if not frozen:
        return Design.OPEN_ENROLMENT
    return Design.ONE_BLAST if looks.one_instant(cohorts) else Design.STAGGERED


def _seen(
    db: Db, experiment: Experiment, found: Sequence[Figures], counting: Counting, past: looks.History
) -> dict[tuple[str, str], readout.Seen]:
    """The latest look's word, or, of a confidence sequence, which holds at every instant, today's."""
    seen = {
        (effect.metric, effect.arm): readout.Seen(effect, look.number, look.as_of)
        for look in past.looks[-1:]
        for effect in look.effects
    }
    if experiment.method is Method.CONFIDENCE_SEQUENCE:
        seen |= _now(db, experiment, found, counting, past)
    return seen


def _now(
    db: Db, experiment: Experiment, found: Sequence[Figures], counting: Counting, past: looks.History
) -> dict[tuple[str, str], readout.Seen]:
    planned = look_queries.planned(db, experiment.id)
    at = Moment(len(past.looks) + 1, Design.OPEN_ENROLMENT, None, 0.0, False)
    seen = {}
    for each in found:
        metric, variance = each.metric, planned.get(each.metric.id)
        for arm, base in figures.compared(experiment.arms, metric):
            contrast = Contrast(metric, arm, base, each.arms[base.key], each.arms[arm.key])
            if variance is None and looking.planned_variance(contrast) is not None:
                continue  # enough is there, and the first look will freeze the variance
            before = past.kept.get((metric.key, arm.key), [])
            kept = looking.decide(experiment, contrast, before, at, Extras(planned_variance=variance))
            seen[metric.key, arm.key] = readout.Seen(kept.effect, None, counting.as_of)
    return seen
