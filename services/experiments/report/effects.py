"""Metrics as shown: a row of the forest plot and of the table for each arm."""

from collections.abc import Sequence
from math import isclose
from typing import NamedTuple

from markupsafe import Markup

from services.experiments.notes import not_borne_out
from services.experiments.report import formats, plots
from services.experiments.report.formats import Figure, Unit
from services.experiments.report.scales import Scale, scale
from shared.contracts.metrics import Direction, MetricKind
from shared.contracts.results import ArmMoments, Effect, MetricResult, Verdict

VERDICTS = {
    Verdict.BETTER: ("better", "better"),
    Verdict.WORSE: ("worse", "worse"),
    Verdict.NOT_SHOWN: ("not shown to differ", "open"),
    Verdict.TOO_FEW: ("too few responses", "open"),
}
KINDS = {
    MetricKind.PROPORTION: "share of customers",
    MetricKind.COUNT: "responses per customer",
    MetricKind.REVENUE: "revenue per customer",
    MetricKind.PROFIT: "profit per customer",
}


class EffectRow(NamedTuple):
    """An arm against the one it is compared with. `tone` is better, worse or open."""

    arm: str
    against: str
    verdict: str
    tone: str
    estimate: str
    interval: str
    relative: Figure
    p_value: Figure
    adjusted: str
    fixed: Figure
    notes: tuple[str, ...]
    plot: Markup


class ArmRow(NamedTuple):
    """What an arm's customers did."""

    arm: str
    customers: str
    responders: str
    mean: str
    total: Figure


class MetricView(NamedTuple):
    """A metric with its arms and effects. The axis is empty where there is nothing to draw."""

    key: str
    title: str
    role: str
    about: str
    effects: tuple[EffectRow, ...]
    arms: tuple[ArmRow, ...]
    axis: Markup


def metric_view(metric: MetricResult) -> MetricView:
    """Everything about one metric, as text and plots."""
    unit = formats.unit_of(metric)
    ends = _ends(metric.effects)
    on = scale(ends, ticks=5)
    labels = [formats.tick(tick, unit._replace(difference="")) for tick in on.ticks]
    better = "more is better" if metric.direction is Direction.UP else "less is better"
    days = f"{metric.window_days} day{'s' if metric.window_days != 1 else ''}"
    return MetricView(
        key=metric.metric,
        title=metric.name or formats.words(metric.metric),
        role=f"{metric.role} metric" if metric.role != "guardrail" else "guardrail",
        about=f"{KINDS[metric.kind]} within {days}, {better}",
        effects=tuple(_effect_row(metric, effect, unit, on) for effect in metric.effects),
        arms=tuple(_arm_row(metric, arm, unit) for arm in metric.arms),
        axis=plots.axis(on, labels) if any(end is not None for end in ends) else plots.EMPTY,
    )


def _ends(effects: Sequence[Effect]) -> list[float | None]:
    return [
        end
        for effect in effects
        for end in (
            effect.absolute.estimate,
            effect.absolute.low,
            effect.absolute.high,
            effect.fixed.low,
            effect.fixed.high,
        )
    ]


def _effect_row(metric: MetricResult, effect: Effect, unit: Unit, on: Scale) -> EffectRow:
    verdict, tone = VERDICTS[effect.verdict]
    estimate = formats.signed(effect.absolute.estimate, unit)
    interval = formats.between(effect.absolute.low, effect.absolute.high, unit)
    fixed = formats.between(effect.fixed.low, effect.fixed.high, unit)
    unsustained = not_borne_out(effect.sequential)
    described = f"{effect.arm} against {effect.against}: {estimate}, interval {interval}, {verdict}."
    strip = plots.Strip(
        name=f"Effect of {effect.arm} on {metric.metric}",
        tone=tone,
        estimate=effect.absolute.estimate,
        low=effect.absolute.low,
        high=effect.absolute.high,
        fixed_low=effect.fixed.low if effect.sequential else None,
        fixed_high=effect.fixed.high if effect.sequential else None,
        described=described,
    )
    return EffectRow(
        arm=effect.arm,
        against=effect.against,
        verdict=verdict,
        tone=tone,
        estimate=estimate,
        interval=interval,
        relative=formats.interval(effect.relative, formats.PER_CENT, effect.relative.reason),
        p_value=Figure(formats.p_value(effect.p_value), "; ".join(unsustained)),
        adjusted=formats.p_value(effect.adjusted_p_value),
        fixed=Figure(fixed, effect.fixed.label),
        notes=tuple(_notes(effect)),
        plot=plots.strip(strip, on) if any(end is not None for end in _ends([effect])) else plots.EMPTY,
    )


def _notes(effect: Effect) -> list[str]:
    found = [note for note in effect.notes if note not in not_borne_out(effect.sequential)]  # they stand in the row
    if effect.randomisation:
        p = formats.p_value(effect.randomisation.p_value)
        found.append(f"Randomisation test that replays the draw {effect.randomisation.draws:,} times: p {_is(p)}.")
    return found


def _is(p: str) -> str:
    return p if p.startswith("<") else f"= {p}"


def _arm_row(metric: MetricResult, arm: ArmMoments, unit: Unit) -> ArmRow:
    total = formats.whole(arm.total) if metric.kind is MetricKind.PROPORTION else formats.plain(arm.total, unit)
    capped = arm.mean is not None and not isclose(arm.mean * arm.n, arm.total, rel_tol=1e-6, abs_tol=0.005)
    shown = Figure(total, "without the cap" if capped else "")
    return ArmRow(arm.arm, formats.whole(arm.n), formats.whole(arm.responders), formats.plain(arm.mean, unit), shown)
