"""Whom to contact next time: profit by share contacted, what policies earn, who is moved by contact."""

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from services.experiments.report import formats, plots
from services.experiments.report.formats import Figure, Unit
from services.experiments.report.scales import scale
from shared.contracts.policies import Policy, Uplift
from shared.contracts.results import MetricResult
from shared.contracts.targeting import FunnelStep

POLICIES = {
    "learned": "Contact where the predicted effect pays",
    "response_model": "Contact those likeliest to respond",
    "contact_all": "Contact everyone",
    "contact_none": "Contact nobody",
}
LEARNERS = {"t_learner": "Predicted effect", "response_model": "Predicted response"}
MOST_IMPORTANCES = 8


class PolicyRow(NamedTuple):
    """A policy and what it earns per customer."""

    name: str
    share: str
    value: str
    interval: str


class PolicyView(NamedTuple):
    """The curve and the policies of one arm."""

    arm: str
    metric: str
    verdict: str
    accepted: bool
    best: str
    gain: Figure
    plot: Markup | None
    points: tuple[tuple[str, str, str], ...]
    rows: tuple[PolicyRow, ...]


class LearnerRow(NamedTuple):
    """How well one way of ranking works."""

    name: str
    winner: bool
    qini: Figure
    auuc: Figure
    rate: Figure


class UpliftView(NamedTuple):
    """Who is moved, and how well that can be told."""

    arm: str
    metric: str
    effect: Figure
    held_out: str
    rows: tuple[LearnerRow, ...]
    importances: tuple[tuple[str, str, Markup], ...]
    definition: str
    reason: str | None


class FunnelView(NamedTuple):
    """A step from the segment to the list."""

    step: str
    left: str
    removed: str
    bar: Markup


def policy_view(policy: Policy, metrics: Sequence[MetricResult]) -> PolicyView:
    """Profit by share contacted; without a curve the reason alone."""
    unit = _money(policy.metric, metrics)
    points = [
        plots.Share(point.share, point.value.estimate, point.value.low, point.value.high)
        for point in policy.curve
        if point.value.estimate is not None and point.value.low is not None and point.value.high is not None
    ]
    best = formats.plain(policy.best_share, formats.SHARE)
    return PolicyView(
        arm=policy.arm,
        metric=policy.metric,
        verdict=policy.reason,
        accepted=policy.accepted,
        best=best,
        gain=formats.interval(policy.gain_over_contact_all, unit),
        plot=_curve(policy, points, unit) if len(points) > 1 else None,
        points=tuple(
            (
                formats.plain(point.share, formats.SHARE),
                formats.signed(point.estimate, unit),
                formats.between(point.low, point.high, unit),
            )
            for point in points
        ),
        rows=tuple(
            PolicyRow(
                POLICIES[each.policy],
                formats.plain(each.share_contacted, formats.SHARE),
                formats.signed(each.value.estimate, unit),
                formats.between(each.value.low, each.value.high, unit),
            )
            for each in policy.policies
        ),
    )


def _curve(policy: Policy, points: Sequence[plots.Share], unit: Unit) -> Markup:
    on = scale([end for point in points for end in (point.low, point.high)], ticks=5)
    labels = [formats.tick(tick, unit) for tick in on.ticks]
    described = (
        f"Profit per customer over contacting nobody, by the share of customers contacted with {policy.arm}, best "
        f"ranked first. At 100 %: {formats.signed(points[-1].estimate, unit)}. Largest at "
        f"{formats.plain(policy.best_share, formats.SHARE)}."
    )
    return plots.profit(f"Profit by share contacted, {policy.arm}", described, points, policy.best_share, on, labels)


def _money(metric: str, metrics: Sequence[MetricResult]) -> Unit:
    return formats.money(next((each.currency for each in metrics if each.metric == metric), None), digits=None)


def uplift_view(uplift: Uplift, metrics: Sequence[MetricResult]) -> UpliftView:
    """How well effects by customer are ranked, and by what."""
    found = next((metric for metric in metrics if metric.metric == uplift.metric), None)
    unit = formats.unit_of(found) if found else formats.money(None)
    unit = unit._replace(digits=None)
    largest = max((each.importance for each in uplift.importances), default=0.0)
    return UpliftView(
        arm=uplift.arm,
        metric=uplift.metric,
        effect=formats.interval(uplift.average_effect, unit),
        held_out=formats.whole(uplift.held_out),
        rows=tuple(
            LearnerRow(
                LEARNERS.get(each.learner, formats.words(each.learner)),
                each.learner == uplift.winner,
                *(formats.interval(figure, unit) for figure in (each.qini, each.auuc, each.rate)),
            )
            for each in uplift.learners
        ),
        importances=tuple(
            (
                each.feature,
                formats.plain(each.importance, unit),
                plots.bar(each.importance / largest if largest else 0.0, "open"),
            )
            for each in uplift.importances[:MOST_IMPORTANCES]
        ),
        definition=uplift.definition,
        reason=uplift.reason,
    )


def funnel_view(steps: Sequence[FunnelStep]) -> list[FunnelView]:
    """Each step with the share that is left of the first."""
    first = max((step.count for step in steps), default=0)
    return [
        FunnelView(
            step.step,
            formats.whole(step.count),
            formats.whole(step.removed),
            plots.bar(step.count / first if first else 0.0, "open"),
        )
        for step in steps
    ]
