"""What is said about each metric: means by arm, effects with their intervals, and verdicts. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from math import nan
from typing import NamedTuple

from services.experiments import notes
from services.experiments.figures import Figures, compared, kind_of, strata_of
from services.experiments.looking import Kept, Redealt, number, relative
from shared.contracts.experiments import Arm, Experiment, FrozenMetric, Method, MetricRole
from shared.contracts.metrics import Direction
from shared.contracts.results import (
    ArmMoments,
    Crossing,
    Effect,
    FixedHorizon,
    Interval,
    Lateness,
    LookEffect,
    MetricResult,
    Randomisation,
    Relative,
    Sequential,
    Verdict,
)
from shared.stats import interval as stats
from shared.stats import means, multiplicity, ratio, small_sample

FIXED_LABEL = "valid only at the planned end"


class Seen(NamedTuple):
    """The latest word of the looks on a contrast, the look that gave it and the moment it speaks of; `look` is null
    where it is computed as of now.
    """

    effect: LookEffect
    look: int | None
    as_of: datetime


class Words(NamedTuple):
    """What is said besides the figures: by looks, by the first of them that decided, and by re-dealing at a fixed
    horizon, all by metric and arm; whether nothing more is to come, by metric; and the moment, with what is waited for.
    """

    seen: Mapping[tuple[str, str], Seen]
    decided: Mapping[tuple[str, str], Kept]
    dealt: Mapping[tuple[str, str], Redealt]
    over: Mapping[str, bool]
    as_of: datetime
    waits_for: Lateness | None


def results(experiment: Experiment, found: Sequence[Figures], words: Words) -> list[MetricResult]:
    """All metrics, in the experiment's order, with p-values adjusted over their families."""
    measured = {metric.key: metric for metric in experiment.measured}
    drafts = [_metric(experiment, measured[each.metric.key], each, words) for each in found]
    return _with_verdicts(experiment, drafts, found, words)


def _metric(experiment: Experiment, measured: FrozenMetric, found: Figures, words: Words) -> MetricResult:
    metric = found.metric
    pairs = compared(experiment.arms, metric)
    return MetricResult(
        metric=metric.key,
        version=metric.version,
        name=metric.name,
        kind=metric.kind,
        role=measured.role,
        direction=metric.direction,
        window_days=metric.window_days,
        currency=metric.currency,
        ended=_ended(experiment, metric.key, pairs, words),
        mature_until=found.mature_until,
        arms=[_arm(found, arm) for arm in experiment.arms],
        effects=[_effect(experiment, found, pair, words) for pair in pairs],
    )


def _ended(experiment: Experiment, metric: str, pairs: Sequence[tuple[Arm, Arm]], words: Words) -> bool:
    """Of a fixed horizon: nothing more is to come. Of looks: the last one at each contrast was taken.

    Where nothing is compared nothing comes to an end.
    """
    if not pairs:
        return False
    if experiment.method is Method.FIXED:
        return words.over[metric]
    seen = [words.seen.get((metric, arm.key)) for arm, _ in pairs]
    return all(each is not None and each.effect.final for each in seen)


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


def _effect(experiment: Experiment, found: Figures, pair: tuple[Arm, Arm], words: Words) -> Effect:
    arm, base = pair
    seen, dealt = words.seen.get((found.metric.key, arm.key)), words.dealt.get((found.metric.key, arm.key))
    strata = strata_of(found.arms[base.key], found.arms[arm.key], experiment.split)
    difference = means.difference(strata)
    method = "stratified" if len(strata) > 1 else "Welch"
    at_the_end = dealt or means.fixed(difference, level=1 - experiment.alpha, method=method)
    fixed = _fixed(at_the_end)
    sequential = _sequential(seen, words.decided.get((found.metric.key, arm.key)))
    shown = fixed if experiment.method is Method.FIXED else sequential
    return Effect(
        arm=arm.key,
        against=base.key,
        absolute=Interval(
            estimate=seen.effect.estimate if seen else number(difference.estimate),
            low=shown.low if shown else None,
            high=shown.high if shown else None,
        ),
        relative=_relative(experiment, difference, at_the_end, seen),
        standard_error=seen.effect.standard_error if seen else number(difference.standard_error),
        p_value=shown.p_value if shown else None,
        fixed=fixed,
        sequential=sequential,
        randomisation=_randomisation(seen, dealt),
        adjusted_p_value=None,
        notes=[
            *notes.not_borne_out(sequential),
            *notes.of_effect(experiment, found, (found.arms[base.key], found.arms[arm.key]), seen and seen.effect),
            *notes.weighed(difference, (found.of(base.key), found.of(arm.key))),
            *notes.waiting(found, words.as_of, words.waits_for),
        ],
        verdict=Verdict.NOT_SHOWN,
    )


def _fixed(found: Redealt | stats.Interval) -> FixedHorizon:
    """Of money with `method: fixed` the test that re-deals it: Welch's errs with skewed money."""
    return FixedHorizon(
        low=number(found.low), high=number(found.high), p_value=number(found.p_value), label=FIXED_LABEL
    )


def _randomisation(seen: Seen | None, dealt: Redealt | None) -> Randomisation | None:
    if dealt is not None:
        return Randomisation(p_value=dealt.p_value, draws=dealt.draws)
    return seen.effect.randomisation if seen else None


def _crossing(effect: LookEffect, decided: Kept | None) -> Crossing | None:
    if decided is None or decided.effect.look is None:
        return None
    above = decided.past.statistic > 0
    side = _side(Interval(estimate=effect.estimate, low=effect.low, high=effect.high))
    return Crossing(
        look=decided.effect.look,
        day=decided.day,
        side="above" if above else "below",
        borne_out=side == (1 if above else -1),
    )


def _sequential(seen: Seen | None, decided: Kept | None) -> Sequential | None:
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
        crossed=_crossing(effect, decided),
    )


def _relative(
    experiment: Experiment, difference: means.Difference, at_the_end: Redealt | stats.Interval, seen: Seen | None
) -> Relative:
    """Of the same test as the absolute interval that is shown, so that the two never contradict each other."""
    found = ratio.relative(difference, ratio.behind(difference, at_the_end.low, at_the_end.high))
    if experiment.method is Method.FIXED:
        return relative(found)
    if seen is None:
        return Relative(estimate=number(found.estimate), low=None, high=None, method=None, reason="no look yet")
    return seen.effect.relative


def _with_verdicts(
    experiment: Experiment, drafts: Sequence[MetricResult], found: Sequence[Figures], words: Words
) -> list[MetricResult]:
    adjusted = _adjusted(drafts)
    return [
        draft.model_copy(
            update={
                "effects": [
                    _judged(
                        experiment,
                        draft,
                        effect,
                        adjusted[draft.metric, effect.arm],
                        too_few=_too_few(figures, effect, words.seen.get((draft.metric, effect.arm))),
                    )
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


def _judged(experiment: Experiment, draft: MetricResult, effect: Effect, adjusted: float, *, too_few: bool) -> Effect:
    """A fixed horizon says nothing before its end."""
    verdict, side = Verdict.NOT_SHOWN, _side(effect.absolute)
    at_its_time = experiment.method is not Method.FIXED or draft.ended
    if too_few:
        verdict = Verdict.TOO_FEW
    elif adjusted <= experiment.alpha and side and at_its_time:
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


def _too_few(found: Figures, effect: Effect, seen: Seen | None) -> bool:
    """The looks' own word where there is one: they may see customers whom the closed metric does not count yet."""
    if seen is not None:
        return seen.effect.too_few
    arms = (found.of(effect.against), found.of(effect.arm))
    return small_sample.too_few(kind_of(found.metric), *arms) is not None
