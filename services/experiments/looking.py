"""One look at one contrast: its evidence, the rule's verdict, and what later looks need of it."""

from collections.abc import Mapping, Sequence
from math import inf, isfinite, nan
from typing import NamedTuple

import numpy as np

from services.experiments import bucketing
from services.experiments.figures import ByStratum, Values, contact_cost, kind_of, strata_of
from shared.contracts.experiments import Arm, Experiment, Method, Split
from shared.contracts.metrics import Metric, MetricKind
from shared.contracts.results import Design, LookEffect, Randomisation, Relative
from shared.stats import correlated_looks, looks, means, moments, randomisation, small_sample
from shared.stats.correlated_looks import Products
from shared.stats.interval import Interval
from shared.stats.looks import Evidence, PastLook, Plan
from shared.stats.randomisation import Block, Draw

DRAWS = 2000


class Kept(NamedTuple):
    """What is kept of a contrast's look: the rule's own numbers, the day it was about, and what was shown."""

    past: PastLook
    day: int | None
    effect: LookEffect

    @property
    def bounded(self) -> bool:
        """Whether it tested anything: there was something to spend, and enough responders."""
        return isfinite(self.past.bound)

    def as_json(self) -> dict[str, object]:
        """An infinite bound becomes null."""
        numbers = [number if isfinite(number) else None for number in self.past]
        return {"past": numbers, "day": self.day}

    @classmethod
    def from_json(cls, found: Mapping[str, object], effect: LookEffect) -> "Kept":
        numbers = found["past"]
        assert isinstance(numbers, list)
        bound = inf if numbers[2] is None else numbers[2]
        read = [nan if number is None else number for number in numbers]
        day = found["day"]
        return cls(PastLook(*read)._replace(bound=bound), day if isinstance(day, int) else None, effect)


class Contrast(NamedTuple):
    """One metric, an arm and the arm it is compared with, with the moments of both by stratum."""

    metric: Metric
    arm: Arm
    base: Arm
    control: ByStratum
    treatment: ByStratum


class Moment(NamedTuple):
    """When a look is taken: its number, the day (one blast), the share gone by, and whether it is the last, because
    of a stop before the planned size (`early`) or as planned."""

    number: int
    design: Design
    day: int | None
    fraction: float
    final: bool
    early: bool = False


class Extras(NamedTuple):
    """What some looks need besides: correlation of the looks so far, values for the randomisation test, and the
    variance of one customer that was frozen."""

    correlation: correlated_looks.Array | None = None
    values: Values | None = None
    planned_variance: float | None = None


def decide(experiment: Experiment, contrast: Contrast, past: Sequence[Kept], at: Moment, extras: Extras) -> Kept:
    """Take one look at a contrast by the rule that the simulations hold to its error."""
    strata = strata_of(contrast.control, contrast.treatment, experiment.split)
    draw = draw_of(experiment, contrast, extras.values) if extras.values is not None else None
    seed = _seed(experiment, contrast, at.number)
    plan = _plan(experiment, contrast, at, extras)
    kind = kind_of(contrast.metric)
    evidence = Evidence(strata, kind, at.fraction, at.final, extras.correlation, draw, seed, at.early)
    found = looks.decide(plan, [kept.past for kept in past], evidence)
    return Kept(found.as_past(), at.day, _effect(contrast, found, at.number))


def standing(found: Kept, past: Sequence[Kept]) -> LookEffect:
    """What a look says of a contrast: its own word, or, where it could test nothing, that of the last one that did."""
    if found.bounded or not past:
        return found.effect
    return past[-1].effect.model_copy(update={"final": found.effect.final})


def _plan(experiment: Experiment, contrast: Contrast, at: Moment, extras: Extras) -> Plan:
    """One customer's variance is frozen; sizes are those of the planned end."""
    design = looks.Design(at.design)
    if extras.planned_variance is None or design is looks.Design.ONE_BLAST:
        return Plan(design, experiment.alpha)
    weights = (contrast.base.weight, contrast.arm.weight)
    sizes = [moments.merged(strata.values()).n for strata in (contrast.control, contrast.treatment)]
    if experiment.planned_size:
        sizes = [round(experiment.planned_size * weight) for weight in weights]
    elif at.fraction > 0:
        sizes = [round(size / at.fraction) for size in sizes]
    error = means.standard_error(extras.planned_variance, max(1, sizes[0]), max(1, sizes[1]))
    return Plan(design, experiment.alpha, planned_standard_error=error)


def planned_variance(contrast: Contrast) -> float | None:
    """One customer's variance, taken from the control at the first look that has enough; None before.

    Of a control whose customers are all alike it is that of both arms, pooled: a plan needs some spread.
    """
    control, treatment = (moments.merged(strata.values()) for strata in (contrast.control, contrast.treatment))
    if small_sample.too_few(kind_of(contrast.metric), control, treatment):
        return None
    pooled = (control.n - 1) * control.variance + (treatment.n - 1) * treatment.variance
    found = control.variance if control.variance > 0 else pooled / (control.n + treatment.n - 2)
    return found if found > 0 else None


def stat_design(experiment: Experiment, *, at_once: bool) -> Design:
    """How looks hang together: by the method chosen, and by whether everybody there will be was sent to at once."""
    if experiment.method is Method.CONFIDENCE_SEQUENCE:
        return Design.OPEN_ENROLMENT
    return Design.ONE_BLAST if at_once else Design.STAGGERED


def draw_of(experiment: Experiment, contrast: Contrast, values: Values) -> Draw:
    """How the two arms were dealt, and what those who responded did. The cost of contacts moves with no re-deal."""
    names = sorted({*contrast.control, *contrast.treatment})
    none = np.empty(0)
    blocks = [
        Block(
            contrast.control.get(name, moments.EMPTY).n,
            contrast.treatment.get(name, moments.EMPTY).n,
            values.get((contrast.base.key, name), none),
            values.get((contrast.arm.key, name), none),
        )
        for name in names
    ]
    if experiment.split is Split.HASH:
        blocks = [randomisation.together(blocks)]
    profit = contrast.metric.kind is MetricKind.PROFIT
    return Draw(blocks, shift=contact_cost(contrast.base) - contact_cost(contrast.arm) if profit else 0.0)


class Redealt(NamedTuple):
    """The randomisation test on one contrast, at the level of the experiment."""

    low: float
    high: float
    p_value: float
    draws: int


def redealt(experiment: Experiment, contrast: Contrast, values: Values) -> Redealt | None:
    """The one test at the end of a fixed horizon; None while there is no spread. Seeded: reading twice is the same."""
    if not all(moments.merged(strata.values()).n for strata in (contrast.control, contrast.treatment)):
        return None
    draw, seed = draw_of(experiment, contrast, values), _seed(experiment, contrast, 0)
    found = randomisation.compare(draw, seed=seed, draws=DRAWS, level=experiment.alpha)
    return Redealt(found.low, found.high, found.p_value, found.draws) if isfinite(found.p_value) else None


def correlation(experiment: Experiment, pairs: Sequence[tuple[Products, Products]]) -> correlated_looks.Array:
    """Between the looks so far and this one; strata only count where the split was exact within them."""
    if experiment.split is Split.HASH:
        pairs = [(_added([pair[0] for pair in pairs]), _added([pair[1] for pair in pairs]))]
    return correlated_looks.correlation(pairs)


def _added(parts: Sequence[Products]) -> Products:
    sums = np.sum([part.sums for part in parts], axis=0)
    return Products(sum(part.n for part in parts), sums, np.sum([part.products for part in parts], axis=0))


def _seed(experiment: Experiment, contrast: Contrast, number: int) -> int:
    return bucketing.fnv(f"{experiment.seed} {contrast.metric.key} {contrast.arm.key} {number}")


def _effect(contrast: Contrast, found: looks.Look, look: int) -> LookEffect:
    interval = found.interval
    bounded = isfinite(found.bound)
    return LookEffect(
        metric=contrast.metric.key,
        arm=contrast.arm.key,
        against=contrast.base.key,
        estimate=number(interval.estimate),
        standard_error=number(interval.standard_error),
        z=number(found.statistic) if bounded else None,
        bound=number(found.bound),
        spent=number(found.spent),
        low=number(interval.low),
        high=number(interval.high),
        relative=relative(found.relative),
        p_value=number(found.p_value) if bounded else None,
        decided=found.decided,
        final=found.final,
        look=look if bounded else None,
        too_few=found.too_few is not None,
        overstated=found.overstated,
        randomisation=None if found.redealt is None else Randomisation(**found.redealt._asdict()),
        method=interval.method,
        reason=interval.reason,
        warning=found.warning,
    )


def relative(found: Interval) -> Relative:
    """Into the message; a method only where there is an interval."""
    known = isfinite(found.low) and isfinite(found.high)
    return Relative(
        estimate=number(found.estimate),
        low=number(found.low),
        high=number(found.high),
        method=found.method if known else None,
        reason=found.reason,
    )


def number(found: float) -> float | None:
    """What could not be estimated, or has no end, becomes null."""
    return float(found) if isfinite(found) else None
