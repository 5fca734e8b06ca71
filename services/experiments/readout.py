"""What is said about each metric: means by arm, effects with their intervals, and verdicts. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from math import nan
from typing import NamedTuple

from services.experiments.figures import ByStratum, Figures, compared, kind_of, strata_of
from services.experiments.looking import number, relative
from shared.contracts.experiments import Arm, Experiment, FrozenMetric, Method, MetricRole
from shared.contracts.metrics import Direction, Maturity
from shared.contracts.results import (
    ArmMoments,
    Effect,
    FixedHorizon,
    Interval,
    LookEffect,
    MetricResult,
    Relative,
    Sequential,
    Verdict,
)
from shared.stats import means, moments, multiplicity, small_sample

FIXED_LABEL = "valid only at the planned end"


class Seen(NamedTuple):
    """The latest word of the looks on a contrast; `look` is null where it is computed as of now."""

    effect: LookEffect
    look: int | None
    as_of: datetime


Looks = Mapping[tuple[str, str], Seen]  # by metric and arm


def results(experiment: Experiment, found: Sequence[Figures], looks: Looks) -> list[MetricResult]:
    """All metrics, in the experiment's order, with p-values adjusted over their families."""
    measured = {metric.key: metric for metric in experiment.measured}
    drafts = [_metric(experiment, measured[each.metric.key], each, looks) for each in found]
    return _with_verdicts(experiment, drafts, found)


def _metric(experiment: Experiment, measured: FrozenMetric, found: Figures, looks: Looks) -> MetricResult:
    metric = found.metric
    return MetricResult(
        metric=metric.key,
        version=metric.version,
        name=metric.name,
        kind=metric.kind,
        role=measured.role,
        direction=metric.direction,
        window_days=metric.window_days,
        currency=metric.currency,
        arms=[_arm(found, arm) for arm in experiment.arms],
        effects=[
            _effect(experiment, found, (arm, base), looks.get((metric.key, arm.key)))
            for arm, base in compared(experiment.arms, metric)
        ],
    )


def _arm(found: Figures, arm: Arm) -> ArmMoments:
    each = found.of(arm.key)
    return ArmMoments(
        arm=arm.key,
        n=each.n,
        mature=found.mature[arm.key],
        responders=each.responders,
        mean=number(each.mean),
        variance=number(each.variance),
        total=found.total[arm.key],
    )


def _effect(experiment: Experiment, found: Figures, pair: tuple[Arm, Arm], seen: Seen | None) -> Effect:
    arm, base = pair
    strata = strata_of(found.arms[base.key], found.arms[arm.key], experiment.split)
    difference = means.difference(strata)
    fixed = means.fixed(difference, level=1 - experiment.alpha, method="stratified" if len(strata) > 1 else "Welch")
    sequential = _sequential(seen)
    shown = fixed if experiment.method is Method.FIXED else sequential
    return Effect(
        arm=arm.key,
        against=base.key,
        absolute=Interval(
            estimate=number(fixed.estimate),
            low=None if shown is None else _end(shown.low),
            high=None if shown is None else _end(shown.high),
        ),
        relative=_relative(experiment, difference, seen),
        standard_error=number(fixed.standard_error),
        p_value=number(fixed.p_value) if experiment.method is Method.FIXED else _p_value(sequential),
        fixed=FixedHorizon(
            low=number(fixed.low), high=number(fixed.high), p_value=number(fixed.p_value), label=FIXED_LABEL
        ),
        sequential=sequential,
        randomisation=seen.effect.randomisation if seen else None,
        adjusted_p_value=None,
        notes=_notes(experiment, found, (found.arms[base.key], found.arms[arm.key]), seen),
        verdict=Verdict.NOT_SHOWN,
    )


def _end(found: float | None) -> float | None:
    return None if found is None else number(found)


def _p_value(found: Sequential | None) -> float | None:
    return found.p_value if found else None


def _sequential(seen: Seen | None) -> Sequential | None:
    if seen is None:
        return None
    effect = seen.effect
    return Sequential(
        low=effect.low,
        high=effect.high,
        p_value=effect.p_value,
        method=effect.method,
        overstated=effect.overstated,
        as_of=seen.as_of,
        look=seen.look,
    )


def _relative(experiment: Experiment, difference: means.Difference, seen: Seen | None) -> Relative:
    if experiment.method is Method.FIXED:
        return relative(means.relative(difference, level=1 - experiment.alpha))
    if seen is None:
        found = means.relative(difference)
        return Relative(estimate=number(found.estimate), low=None, high=None, method=None, reason="no look yet")
    return seen.effect.relative


def _notes(experiment: Experiment, found: Figures, arms: tuple[ByStratum, ByStratum], seen: Seen | None) -> list[str]:
    control, treatment = (moments.merged(each.values()) for each in arms)
    metric = found.metric
    said = [small_sample.too_few(kind_of(metric), control, treatment)]
    said.append(small_sample.skewness_warning(control, treatment))
    if seen is not None:
        said.append(seen.effect.reason)
        if seen.effect.overstated:
            said.append("decided before the planned end: the estimate tends to be too large")
    elif experiment.method is not Method.FIXED:
        said.append("no look has been taken yet")
    if metric.maturity is Maturity.CLOSED and not any(found.mature.values()):
        said.append("no window has closed yet")
    if metric.cap is not None:
        said.append(f"values are capped at {metric.cap}; totals are not")
    return list(dict.fromkeys(note for note in said if note))


def _with_verdicts(
    experiment: Experiment, drafts: Sequence[MetricResult], found: Sequence[Figures]
) -> list[MetricResult]:
    adjusted = _adjusted(drafts)
    return [
        draft.model_copy(
            update={
                "effects": [
                    _judged(experiment, draft, effect, adjusted[draft.metric, effect.arm], figures)
                    for effect in draft.effects
                ]
            }
        )
        for draft, figures in zip(drafts, found, strict=True)
    ]


def _adjusted(drafts: Sequence[MetricResult]) -> dict[tuple[str, str], float]:
    """Holm over the arms of the primary metric, Benjamini–Hochberg over all secondary ones; guardrails stand alone."""
    answer: dict[tuple[str, str], float] = {}
    for role, adjust in (
        (MetricRole.PRIMARY, multiplicity.holm),
        (MetricRole.SECONDARY, multiplicity.benjamini_hochberg),
    ):
        family = [(each.metric, effect) for each in drafts if each.role is role for effect in each.effects]
        values = adjust([_or_nan(effect.p_value) for _, effect in family])
        answer |= {(metric, effect.arm): value for (metric, effect), value in zip(family, values, strict=True)}
    alone = [each for each in drafts if each.role is MetricRole.GUARDRAIL]
    answer |= {(each.metric, effect.arm): _or_nan(effect.p_value) for each in alone for effect in each.effects}
    return answer


def _or_nan(found: float | None) -> float:
    return nan if found is None else found


def _judged(experiment: Experiment, draft: MetricResult, effect: Effect, adjusted: float, found: Figures) -> Effect:
    verdict, side = Verdict.NOT_SHOWN, _side(effect.absolute)
    if _too_few(experiment, effect, found):
        verdict = Verdict.TOO_FEW
    elif adjusted <= experiment.alpha and side and _at_its_time(experiment, found):
        good = (side > 0) == (draft.direction is Direction.UP)
        verdict = Verdict.BETTER if good else Verdict.WORSE
    return effect.model_copy(update={"adjusted_p_value": number(adjusted), "verdict": verdict})


def _side(shown: Interval) -> int:
    """On which side of zero the interval lies that is shown now; 0 where it covers zero.

    A p-value keeps an earlier crossing for ever, but what was shown by day 7 (all costs, half of the orders) need not
    hold by the end of the window: no verdict contradicts the interval beside it.
    """
    if shown.low is not None and shown.low > 0:
        return 1
    return -1 if shown.high is not None and shown.high < 0 else 0


def _too_few(experiment: Experiment, effect: Effect, found: Figures) -> bool:
    """The looks' own word where there is one: they may see customers whom the closed metric does not count yet."""
    if experiment.method is not Method.FIXED and effect.sequential is not None:
        return effect.sequential.p_value is None
    arms = (found.of(effect.against), found.of(effect.arm))
    return small_sample.too_few(kind_of(found.metric), *arms) is not None


def _at_its_time(experiment: Experiment, found: Figures) -> bool:
    """A fixed horizon says nothing before its end: every window closed, and as many customers as planned."""
    if experiment.method is not Method.FIXED:
        return True
    counted = sum(found.of(arm.key).n for arm in experiment.arms)
    mature = sum(found.mature.values())
    return mature == counted > 0 and counted >= (experiment.planned_size or 0)
