"""Reading what the difference is. Reading spends nothing."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import blake2b
from typing import NamedTuple
from uuid import UUID

from services.experiments import counted, decision, ending, figures, health, looking, money, readout
from services.experiments.actions import past
from services.experiments.actions.experiments import frozen_population
from services.experiments.actions.questions import one_instant
from services.experiments.ending import Horizon
from services.experiments.figures import Cohort, Figures, Sums, Values
from services.experiments.looking import Contrast, Extras, Moment
from services.experiments.memory import Memory
from services.experiments.queries import assignments, experiments, moments, outcomes
from services.experiments.queries import looks as look_queries
from shared.contracts.experiments import Experiment, Method, State
from shared.contracts.metrics import MONEY
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
# By experiment, metric, arm, customers and a digest of their values: all that replaying a draw depends on.
REDEALT = Memory[tuple[UUID, UUID, str, int, bytes], looking.Redealt | None](200)


class NotStarted(Conflict):
    """A draft has no results."""

    code = "not-started"


class Counting(NamedTuple):
    """What was counted, how, until when, and of how many. `recounted`: up to which instant from raw events, if so."""

    counted: Counted
    cohorts: list[Cohort]
    sums: list[Sums]
    as_of: datetime
    recounted: datetime | None
    horizon: Horizon

    @property
    def assigned(self) -> int:
        return sum(cohort.customers for cohort in self.cohorts)


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
    found = [
        figures.figures(each, experiment.arms, counting.cohorts, counting.sums, until, counting.as_of)
        for each in metrics
    ]
    taken_by_then = past.history(db, experiment, as_of)
    said = readout.results(experiment, found, _words(db, experiment, found, counting, taken_by_then))
    vitals = health.Vitals(
        experiment,
        sizes,
        metrics,
        counting.sums,
        moments.discrepancies(db, experiment.id) if as_of is None else None,
        moments.balance(db, experiment.id, BALANCED_OVER),
        counting.counted.pending_batches,
        max((until - cohort.earliest_t0 for cohort in counting.cohorts), default=timedelta(0)),
        counting.counted if any(sum(each.mature.values()) < counting.assigned for each in found) else None,
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
        look=taken_by_then.latest,
        metrics=said,
        money=money.money(experiment, sizes, said),
    )


def decide(db: Db, reference: str) -> Decision:
    """What to do now, with the reasons."""
    return decision.decide(experiments.experiment(db, reference), results(db, reference))


def history(db: Db, reference: str) -> History:
    """Every look's effects, for plots over time."""
    experiment = experiments.experiment(db, reference)
    looks = past.history(db, experiment).looks
    return History(experiment=experiment.key, points=[point for look in looks for point in _points(look)])


def taken(db: Db, reference: str) -> list[Look]:
    """The looks of an experiment, oldest first."""
    return past.history(db, experiments.experiment(db, reference)).looks


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
    recounted = now if full and as_of is None else as_of
    reached = Counted(
        position=pending.xid if pending else "0",
        until=counted.until(pending, now, recounted),
        pending_batches=pending.batches if pending else 0,
        refresh="incremental" if recounted is None else "full",
        agrees=moments.disagreements(db, experiment.id) == 0 if full else None,
        waits_for=counted.lateness(pending),
    )
    cohorts = moments.cohorts(db, experiment.id, recounted)
    horizon = ending.horizon(experiment, assignments.population(db, experiment.id), as_of or now)
    return Counting(reached, cohorts, moments.sums(db, experiment.id, recounted), as_of or now, recounted, horizon)


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
    if not frozen_population(experiment):
        return Design.OPEN_ENROLMENT
    return Design.ONE_BLAST if one_instant(cohorts) else Design.STAGGERED


def _words(
    db: Db, experiment: Experiment, found: Sequence[Figures], counting: Counting, taken: past.History
) -> readout.Words:
    """All that is said besides the figures."""
    seen = {key: readout.Seen(said.effect, said.look.number, said.look.as_of) for key, said in taken.said.items()}
    decided = {
        key: next(kept for kept in past if kept.effect.decided)
        for key, past in taken.tested.items()
        if past[-1].effect.decided
    }
    over = {each.metric.key: counting.horizon.ended(counting.assigned, sum(each.mature.values())) for each in found}
    dealt = dict[past.Key, looking.Redealt]()
    if experiment.method is Method.FIXED:
        dealt = _dealt(db, experiment, [each for each in found if over[each.metric.key]], counting)
    elif experiment.method is Method.CONFIDENCE_SEQUENCE and not (taken.latest and taken.latest.final):
        seen |= _now(db, experiment, found, counting, taken)
    return readout.Words(seen, decided, dealt, over, counting.as_of, counting.counted.waits_for)


def _dealt(
    db: Db, experiment: Experiment, ended: Sequence[Figures], counting: Counting
) -> dict[past.Key, looking.Redealt]:
    """Of a fixed horizon at its end: money, tested by replaying the draw, once for the same values.

    Online, too: nobody joins any more, and with weights that never changed all ways to reach these sizes are as likely.
    """
    dealt = dict[past.Key, looking.Redealt]()
    for each in ended:
        metric = each.metric
        if metric.kind not in MONEY:
            continue
        values = moments.values(db, experiment.id, metric.id, each.days, counting.recounted)
        seen = _digest(values)
        for arm, base in figures.compared(experiment.arms, metric):
            contrast = Contrast(metric, arm, base, each.arms[base.key], each.arms[arm.key])
            key = (experiment.id, metric.id, arm.key, counting.assigned, seen)
            redealt = REDEALT.answer(key, partial(looking.redealt, experiment, contrast, values))
            if redealt is not None:
                dealt[metric.key, arm.key] = redealt
    return dealt


def _digest(values: Values) -> bytes:
    found = blake2b(digest_size=16)
    for group in sorted(values):
        found.update(repr(group).encode())
        found.update(values[group].tobytes())
    return found.digest()


def _now(
    db: Db, experiment: Experiment, found: Sequence[Figures], counting: Counting, taken: past.History
) -> dict[past.Key, readout.Seen]:
    """Of a confidence sequence, which holds at every instant: its word as of now.

    A variance is only known to an instant at which a look had tested the metric.
    """
    known = {metric for metric, _ in taken.tested}
    planned = look_queries.planned(db, experiment.id)
    early = counting.horizon.early(counting.assigned)
    seen = {}
    for each in found:
        metric = each.metric
        variance = planned.get(metric.id) if metric.key in known else None
        over = counting.horizon.ended(counting.assigned, sum(each.mature.values()))
        at = Moment(len(taken.looks) + 1, Design.OPEN_ENROLMENT, None, 0.0, over, early)
        for arm, base in figures.compared(experiment.arms, metric):
            contrast = Contrast(metric, arm, base, each.arms[base.key], each.arms[arm.key])
            if variance is None and looking.planned_variance(contrast) is not None:
                continue  # enough is there, and the first look will freeze the variance
            before = taken.tested.get((metric.key, arm.key), [])
            kept = looking.decide(experiment, contrast, before, at, Extras(planned_variance=variance))
            seen[metric.key, arm.key] = readout.Seen(looking.standing(kept, before), None, counting.as_of)
    return seen
