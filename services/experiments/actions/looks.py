"""Taking a look: a stored snapshot that spends its share of α."""

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np

from services.experiments import figures, looking
from services.experiments.actions.assignments import Begin
from services.experiments.figures import ByStratum, Cohort, Figures
from services.experiments.looking import Contrast, Extras, Kept, Moment
from services.experiments.queries import experiments, moments, outcomes
from services.experiments.queries import looks as queries
from shared.contracts.experiments import Experiment, Method, State
from shared.contracts.metrics import MONEY, Metric
from shared.contracts.results import Design, Look, LookEffect
from shared.db import Db
from shared.errors import Conflict, FieldError, Invalid
from shared.stats.correlated_looks import Products
from shared.stats.moments import EMPTY, Moments
from shared.telemetry import log

DAY = timedelta(days=1)


class NothingToSee(Conflict):
    """There is nothing to look at yet, or looking was not part of the plan."""

    code = "nothing-to-see"


class History(NamedTuple):
    """The looks so far, and what is kept of each contrast, by metric and arm."""

    looks: list[Look]
    kept: dict[tuple[str, str], list[Kept]]

    @property
    def latest(self) -> Look | None:
        return self.looks[-1] if self.looks else None


class Sight(NamedTuple):
    """What a look is taken with: who counts, until when, and what came before."""

    experiment: Experiment
    metrics: list[Metric]
    cohorts: list[Cohort]
    as_of: datetime
    until: datetime
    recounted: bool
    history: History
    planned: dict[str, float | None]


def history(db: Db, experiment: Experiment) -> History:
    """All looks of an experiment."""
    found, kept = list[Look](), dict[tuple[str, str], list[Kept]]()
    for row in queries.stored(db, experiment.id):
        look = Look.model_validate(row.content)
        found.append(look)
        for effect in look.effects:
            past = row.past.get(f"{effect.metric}/{effect.arm}")
            if past is not None:
                kept.setdefault((effect.metric, effect.arm), []).append(Kept.from_json(past, effect))
    return History(found, kept)


class Question(NamedTuple):
    """A contrast that is to be looked at, with all that its verdict rests on."""

    contrast: Contrast
    past: list[Kept]
    at: Moment
    extras: Extras


Part = Question | Kept  # what is to be decided, or was decided for good by an earlier look


def take(begin: Begin, reference: str, as_of: datetime | None) -> tuple[Look, bool]:
    """Take a look, and whether it is a new one: asking again for the same day spends nothing.

    Figures are read, verdicts are reached without holding a connection, and the look is stored, unless another one was
    in the meantime. Raises `NothingToSee` and `Invalid` (a look before the latest, or in the future).
    """
    with begin() as db:
        sight = _sight(db, experiments.experiment(db, reference), as_of)
        latest = sight.history.latest
        design = latest.design if latest else looking.stat_design(sight.experiment, one_instant(sight.cohorts))
        day = _day(sight) if design is Design.ONE_BLAST else None
        if latest is not None and _seen_before(latest, sight.as_of, day):
            return latest, False
        parts = _one_blast(db, sight, day) if day is not None else _growing(db, sight, design)
    found = [part if isinstance(part, Kept) else looking.decide(sight.experiment, *part) for part in parts]
    look = _look(sight, design, day, found)
    with begin() as db:
        experiments.experiment(db, reference, lock=True)
        other = history(db, sight.experiment).latest
        if other is not None and other.number >= look.number:
            return other, False
        _store(db, sight, look, parts, found)
    return look, True


def _seen_before(latest: Look, as_of: datetime, day: int | None) -> bool:
    return latest.final or latest.as_of >= as_of or (day is not None and latest.day == day)


def _store(db: Db, sight: Sight, look: Look, parts: Sequence[Part], found: Sequence[Kept]) -> None:
    new = [(part, kept) for part, kept in zip(parts, found, strict=True) if isinstance(part, Question)]
    for part, _ in new:
        if part.extras.planned_variance is not None:
            queries.freeze(db, sight.experiment.id, part.contrast.metric.id, part.extras.planned_variance)
    past = {f"{kept.effect.metric}/{kept.effect.arm}": kept.as_json() for _, kept in new}
    queries.store(db, sight.experiment.id, look, past)


def due(begin: Begin) -> list[str]:
    """Experiments whose daily look the worker should take now."""
    with begin() as db:
        return queries.due(db, datetime.now(UTC))


def take_due(begin: Begin, reference: str) -> Look | None:
    """Take the daily look, if there is anything new to see."""
    try:
        look, fresh = take(begin, reference, None)
    except NothingToSee as nothing:
        log.info("look postponed", experiment=reference, reason=nothing.detail)
        return None
    return look if fresh else None


def _sight(db: Db, experiment: Experiment, as_of: datetime | None) -> Sight:
    if experiment.method is Method.FIXED:
        raise NothingToSee("A fixed horizon is looked at once, at its planned end: read the results then.")
    if experiment.state in (State.DRAFT, State.ARCHIVED):
        raise NothingToSee(f"{experiment.key} is {experiment.state}.")
    pending, now = outcomes.pending(db), datetime.now(UTC)
    if as_of is not None and as_of > now:
        raise Invalid("Nobody has seen that yet.", [FieldError("/as_of", "lies in the future")])
    found = history(db, experiment)
    if as_of is not None and found.latest is not None and as_of < found.latest.as_of:
        raise Invalid("Looks never go back.", [FieldError("/as_of", f"the latest look is of {found.latest.as_of}")])
    cohorts = moments.cohorts(db, experiment.id, as_of)
    if pending is None or not cohorts:
        raise NothingToSee("No assignment has been counted yet.")
    until = min(as_of or now, pending.moved_at - pending.usual_lag)
    metrics, frozen = experiments.measured(db, experiment.id), queries.planned(db, experiment.id)
    planned = {metric.key: frozen.get(metric.id) for metric in metrics}
    return Sight(experiment, metrics, cohorts, as_of or now, until, as_of is not None, found, planned)


def one_instant(cohorts: Sequence[Cohort]) -> bool:
    """Whether everybody has the same t0."""
    return len({instant for cohort in cohorts for instant in (cohort.earliest_t0, cohort.latest_t0)}) <= 1


def _day(sight: Sight) -> int:
    day = (sight.until - max(cohort.latest_t0 for cohort in sight.cohorts)) // DAY
    if day < 1:
        raise NothingToSee("The first day after t0, and the time responses usually take to arrive, is not over.")
    return min(day, max(metric.window_days for metric in sight.metrics))


def _one_blast(db: Db, sight: Sight, day: int) -> list[Part]:
    """Everybody's effect by some day, on everybody."""
    past_days = [look.day for look in sight.history.looks if look.day is not None]
    queries.count(db, sight.experiment.id, [min(d, m.window_days) for d in [*past_days, day] for m in sight.metrics])
    products = queries.products(db)
    found: list[Part] = []
    for metric in sight.metrics:
        by = min(day, metric.window_days)
        arms = _by_day(sight, metric, queries.sums(db, by))
        dealt = queries.values(db, metric.id, by) if metric.kind in MONEY else None
        for arm, base in figures.compared(sight.experiment.arms, metric):
            past = sight.history.kept.get((metric.key, arm.key), [])
            if past and past[-1].effect.final:
                found.append(past[-1])
                continue
            contrast = Contrast(metric, arm, base, arms[base.key], arms[arm.key])
            days = [kept.day or 0 for kept in past] + [by]
            pairs = _pairs(contrast, days, [each for each in products if each.metric_id == metric.id])
            matrix = looking.correlation(sight.experiment, pairs)
            at = _moment(sight, Design.ONE_BLAST, by, by / metric.window_days, by == metric.window_days)
            found.append(Question(contrast, past, at, Extras(matrix, dealt)))
    return found


def _by_day(sight: Sight, metric: Metric, sums: Sequence[queries.DaySums]) -> dict[str, ByStratum]:
    rows = {(row.arm, row.stratum): row for row in sums if row.metric_id == metric.id}
    found: dict[str, ByStratum] = {arm.key: {} for arm in sight.experiment.arms}
    for arm, stratum, customers in _sizes(sight.cohorts):
        row = rows.get((arm, stratum))
        found[arm][stratum] = figures.with_zeros(customers, row)
    return {arm.key: figures.net(found[arm.key], arm, metric) for arm in sight.experiment.arms}


def _sizes(cohorts: Sequence[Cohort]) -> list[tuple[str, str, int]]:
    sizes: dict[tuple[str, str], int] = {}
    for cohort in cohorts:
        place = (cohort.arm, cohort.stratum)
        sizes[place] = sizes.get(place, 0) + cohort.customers
    return [(arm, stratum, customers) for (arm, stratum), customers in sizes.items()]


def _pairs(contrast: Contrast, days: list[int], products: Sequence[queries.Product]) -> list[tuple[Products, Products]]:
    names = sorted({*contrast.control, *contrast.treatment})
    found = {(each.arm, each.stratum, each.day, each.other_day): each for each in products}

    def side(arm: str, stratum: str, moments: Moments) -> Products:
        sums = np.zeros(len(days))
        matrix = np.zeros((len(days), len(days)))
        for i, one in enumerate(days):
            for j, other in enumerate(days):
                each = found.get((arm, stratum, min(one, other), max(one, other)))
                matrix[i, j] = each.product if each else 0.0
                if each and i == j:
                    sums[i] = each.total
        return Products(moments.n, sums, matrix)

    return [
        (
            side(contrast.base.key, name, contrast.control.get(name, EMPTY)),
            side(contrast.arm.key, name, contrast.treatment.get(name, EMPTY)),
        )
        for name in names
    ]


def _growing(db: Db, sight: Sight, design: Design) -> list[Part]:
    """The effect on those who are mature (or, of open metrics, enrolled) so far."""
    until = sight.as_of if sight.recounted else None
    sums = moments.sums(db, sight.experiment.id, until)
    found: list[Part] = []
    for metric in sight.metrics:
        each = figures.figures(metric, sight.experiment.arms, sight.cohorts, sums, sight.until)
        frozen_list = design is not Design.OPEN_ENROLMENT and metric.kind in MONEY
        dealt = moments.values(db, sight.experiment.id, metric.id, each.days, until) if frozen_list else None
        for arm, base in figures.compared(sight.experiment.arms, metric):
            past = sight.history.kept.get((metric.key, arm.key), [])
            if past and past[-1].effect.final:
                found.append(past[-1])
                continue
            contrast = Contrast(metric, arm, base, each.arms[base.key], each.arms[arm.key])
            variance = _frozen_variance(sight, contrast)
            share = _share(each, sight.cohorts, (arm.key, base.key))
            at = _moment(sight, design, None, share, design is Design.STAGGERED and share >= 1)
            found.append(Question(contrast, past, at, Extras(None, dealt, variance)))
    return found


def _frozen_variance(sight: Sight, contrast: Contrast) -> float | None:
    """What is frozen, or will be with this look: all contrasts of a metric share it."""
    known = sight.planned[contrast.metric.key]
    if known is None:
        known = sight.planned[contrast.metric.key] = looking.planned_variance(contrast)
    return known


def _share(found: Figures, cohorts: Sequence[Cohort], arms: tuple[str, str]) -> float:
    """Of the two arms' customers, those who count."""
    counting = sum(figures.customers_of(cohorts, arm, found.days) for arm in arms)
    return counting / max(1, sum(figures.customers_of(cohorts, arm) for arm in arms))


def _moment(sight: Sight, design: Design, day: int | None, fraction: float, final: bool) -> Moment:
    return Moment(len(sight.history.looks) + 1, design, day, fraction, final)


def _look(sight: Sight, design: Design, day: int | None, found: Sequence[Kept]) -> Look:
    effects: list[LookEffect] = [kept.effect for kept in found]
    rested = json.dumps([kept.effect.model_dump(mode="json") for kept in found], sort_keys=True)
    return Look(
        number=len(sight.history.looks) + 1,
        taken_at=datetime.now(UTC),
        as_of=sight.as_of,
        day=day,
        method=sight.experiment.method,
        design=design,
        final=bool(effects) and all(effect.final for effect in effects),
        digest=hashlib.sha256(rested.encode()).hexdigest(),
        effects=effects,
    )
