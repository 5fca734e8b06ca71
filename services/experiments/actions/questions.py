"""What a look asks of each contrast: the figures of the moment, and what its verdict rests on besides."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.experiments import counted, ending, figures, looking, schedule
from services.experiments.actions.past import History, history
from services.experiments.ending import Horizon
from services.experiments.figures import ByStratum, Cohort, Figures, Values
from services.experiments.looking import Contrast, Extras, Kept, Moment
from services.experiments.queries import assignments, experiments, moments, outcomes
from services.experiments.queries import looks as queries
from shared.contracts.experiments import Experiment, Method, State
from shared.contracts.metrics import MONEY, Metric
from shared.contracts.results import Design, LookEffect
from shared.db import Db
from shared.errors import Conflict, FieldError, Invalid
from shared.stats.correlated_looks import Products
from shared.stats.moments import EMPTY, Moments, of_values

DAY = timedelta(days=1)


class NothingToSee(Conflict):
    """There is nothing to look at yet, nothing new since the look before, or looking was not part of the plan."""

    code = "nothing-to-see"


class Sight(NamedTuple):
    """What a look is taken with: who counts, until when, what came before, and when it ends."""

    experiment: Experiment
    metrics: list[Metric]
    cohorts: list[Cohort]
    as_of: datetime
    until: datetime
    recounted: bool
    history: History
    planned: dict[str, float | None]
    horizon: Horizon

    @property
    def assigned(self) -> int:
        return sum(cohort.customers for cohort in self.cohorts)

    @property
    def contrasts(self) -> int:
        """How many effects a look tells: of each metric, every arm that is compared."""
        return sum(len(figures.compared(self.experiment.arms, metric)) for metric in self.metrics)


class Question(NamedTuple):
    """A contrast that is to be looked at, with all that its verdict rests on."""

    contrast: Contrast
    past: list[Kept]
    at: Moment
    extras: Extras


Part = Question | LookEffect  # what is to be decided, or what an earlier look said and this one leaves as it is


def sight(db: Db, experiment: Experiment, as_of: datetime | None) -> Sight:
    """What there is to look at. Raises `NothingToSee` and `Invalid` (before the latest look, or in the future)."""
    if experiment.method is Method.FIXED:
        raise NothingToSee("A fixed horizon is looked at once, at its planned end: read the results then.")
    if experiment.state in (State.DRAFT, State.ARCHIVED):
        raise NothingToSee(f"{experiment.key} is {experiment.state}.")
    pending, now = outcomes.pending(db), datetime.now(UTC)
    if as_of is not None and as_of > now:
        raise Invalid("Nobody has seen that yet.", [FieldError("/as_of", "lies in the future")])
    past = history(db, experiment)
    if as_of is not None and past.latest is not None and as_of < past.latest.as_of:
        raise Invalid("Looks never go back.", [FieldError("/as_of", f"the latest look is of {past.latest.as_of}")])
    cohorts = moments.cohorts(db, experiment.id, as_of)
    if pending is None or not cohorts:
        raise NothingToSee("No assignment has been counted yet.")
    metrics, frozen = experiments.measured(db, experiment.id), queries.planned(db, experiment.id)
    return Sight(
        experiment,
        metrics,
        cohorts,
        as_of or now,
        counted.until(pending, now, as_of),
        as_of is not None,
        past,
        {metric.key: frozen.get(metric.id) for metric in metrics},
        ending.horizon(experiment, assignments.population(db, experiment.id), as_of or now),
    )


def design(sight: Sight) -> Design:
    """How this look hangs together with the others: as the latest one did, once there is one."""
    if sight.history.latest is not None:
        return sight.history.latest.design
    whole = sight.horizon.whole(sight.assigned)
    return looking.stat_design(sight.experiment, at_once=whole and one_instant(sight.cohorts))


def one_instant(cohorts: Sequence[Cohort]) -> bool:
    """Whether everybody has the same t0."""
    return len({instant for cohort in cohorts for instant in (cohort.earliest_t0, cohort.latest_t0)}) <= 1


def day_of(sight: Sight) -> int:
    """Whole days since everybody's t0, up to the longest window."""
    day = (sight.until - _t0(sight)) // DAY
    if day < 1:
        raise NothingToSee("The first day after t0, and the time responses usually take to arrive, is not over.")
    return min(day, max(metric.window_days for metric in sight.metrics))


def _t0(sight: Sight) -> datetime:
    return max(cohort.latest_t0 for cohort in sight.cohorts)


def one_blast(db: Db, sight: Sight, day: int) -> Iterator[Part]:
    """Everybody's effect by some day, on everybody, for the metrics that have a look on that day."""
    asked = [metric for metric in sight.metrics if _has_look(sight, metric, day)]
    if not asked:
        raise NothingToSee(_off_schedule(sight, day))
    tested = sight.history.tested
    past_days = {kept.day for (metric, _), past in tested.items() for kept in past if metric in _keys(asked)}
    by_metric = {metric.key: min(day, metric.window_days) for metric in asked}
    days = sorted({each for each in {*past_days, *by_metric.values()} if each})
    counted = queries.by_day(db, sight.experiment.id, days)
    for metric in sight.metrics:
        if metric.key not in by_metric:
            yield from _left(sight, metric)
            continue
        by = by_metric[metric.key]
        own = {(each.arm, each.stratum): each.values for each in counted if each.metric_id == metric.id}
        seen = {place: values[:, days.index(by)] for place, values in own.items()}
        arms = _by_day(sight, metric, seen)
        dealt = {place: values[values != 0] for place, values in seen.items()} if metric.kind in MONEY else None
        final = by == metric.window_days
        at = Moment(_number(sight), Design.ONE_BLAST, by, by / metric.window_days, final)
        for arm, base in figures.compared(sight.experiment.arms, metric):
            past = tested.get((metric.key, arm.key), [])
            contrast = Contrast(metric, arm, base, arms[base.key], arms[arm.key])
            columns = [days.index(each) for each in (*(kept.day for kept in past if kept.day), by)]
            pairs = _pairs(contrast, columns, own)
            matrix = looking.correlation(sight.experiment, pairs)
            yield Question(contrast, past, at, Extras(matrix, dealt))


def _keys(metrics: Sequence[Metric]) -> set[str]:
    return {metric.key for metric in metrics}


def _has_look(sight: Sight, metric: Metric, day: int) -> bool:
    """Whether a metric is looked at on a day: one of its schedule, or the first that is seen of its window's end."""
    if day >= metric.window_days:
        left = _left(sight, metric)
        return not left or not all(effect.final for effect in left)
    return day in schedule.days(metric.window_days)


def _left(sight: Sight, metric: Metric) -> list[LookEffect]:
    """What the looks have said of a metric."""
    return [said.effect for (key, _), said in sight.history.said.items() if key == metric.key]


def _off_schedule(sight: Sight, day: int) -> str:
    following = schedule.following([metric.window_days for metric in sight.metrics], day)
    if following is None:
        return "Every metric had its last look."
    over = _t0(sight) + following * DAY
    return f"No look is planned on day {day}; the next one is of day {following}, which ends at {over.isoformat()}."


def _by_day(sight: Sight, metric: Metric, seen: Values) -> dict[str, ByStratum]:
    found: dict[str, ByStratum] = {arm.key: {} for arm in sight.experiment.arms}
    for arm, stratum, customers in _sizes(sight.cohorts):
        values = seen.get((arm, stratum), np.empty(0))
        found[arm][stratum] = of_values(values[values != 0], customers)
    return {arm.key: figures.net(found[arm.key], arm, metric) for arm in sight.experiment.arms}


def _sizes(cohorts: Sequence[Cohort]) -> list[tuple[str, str, int]]:
    sizes: dict[tuple[str, str], int] = {}
    for cohort in cohorts:
        place = (cohort.arm, cohort.stratum)
        sizes[place] = sizes.get(place, 0) + cohort.customers
    return [(arm, stratum, customers) for (arm, stratum), customers in sizes.items()]


def _pairs(
    contrast: Contrast, columns: list[int], own: Mapping[tuple[str, str], NDArray[np.float64]]
) -> list[tuple[Products, Products]]:
    """Of both arms, by stratum: how the values by the days of the looks hang together."""

    def side(arm: str, stratum: str, moments: Moments) -> Products:
        values = own.get((arm, stratum), np.zeros((0, max(columns) + 1)))[:, columns]
        return Products(moments.n, values.sum(axis=0), values.T @ values)

    return [
        (
            side(contrast.base.key, name, contrast.control.get(name, EMPTY)),
            side(contrast.arm.key, name, contrast.treatment.get(name, EMPTY)),
        )
        for name in sorted({*contrast.control, *contrast.treatment})
    ]


def growing(db: Db, sight: Sight, design: Design) -> Iterator[Part]:
    """The effect on those who are mature (or, of open metrics, enrolled) so far."""
    until = sight.as_of if sight.recounted else None
    sums = moments.sums(db, sight.experiment.id, until)
    for metric in sight.metrics:
        left = _left(sight, metric)
        if left and all(effect.final for effect in left):
            yield from left
            continue
        each = figures.figures(metric, sight.experiment.arms, sight.cohorts, sums, sight.until, sight.as_of)
        frozen_list = design is not Design.OPEN_ENROLMENT and metric.kind in MONEY
        dealt = moments.values(db, sight.experiment.id, metric.id, each.days, until) if frozen_list else None
        final = sight.horizon.ended(sight.assigned, sum(each.mature.values()))
        early = sight.horizon.early(sight.assigned)
        for arm, base in figures.compared(sight.experiment.arms, metric):
            past = sight.history.tested.get((metric.key, arm.key), [])
            contrast = Contrast(metric, arm, base, each.arms[base.key], each.arms[arm.key])
            variance = _frozen_variance(sight, contrast)
            at = Moment(_number(sight), design, None, _share(sight, each, contrast), final, early)
            yield Question(contrast, past, at, Extras(None, dealt, variance))


def _frozen_variance(sight: Sight, contrast: Contrast) -> float | None:
    """What is frozen, or will be with this look: all contrasts of a metric share it."""
    known = sight.planned[contrast.metric.key]
    if known is None:
        known = sight.planned[contrast.metric.key] = looking.planned_variance(contrast)
    return known


def _share(sight: Sight, found: Figures, contrast: Contrast) -> float:
    """Of the two arms' customers, those who count: also of the customers who are still to be assigned."""
    arms = (contrast.arm, contrast.base)
    counting = sum(figures.customers_of(sight.cohorts, arm.key, found.days) for arm in arms)
    assigned = sum(figures.customers_of(sight.cohorts, arm.key) for arm in arms)
    to_come = max(0, (sight.horizon.customers or 0) - sight.assigned) * sum(arm.weight for arm in arms)
    return counting / max(1, assigned + to_come)


def _number(sight: Sight) -> int:
    return len(sight.history.looks) + 1
