"""Whom to contact next time: profit (or responses) by share contacted, what policies earn, who is moved by contact."""

from collections.abc import Sequence
from math import inf
from typing import NamedTuple

from markupsafe import Markup

from services.experiments.report import formats, plots
from services.experiments.report.formats import Figure, Unit
from services.experiments.report.scales import scale
from shared.contracts.policies import Policy, PolicyValue, Uplift
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
    most: bool
    share: str
    value: str
    interval: str


class PolicyView(NamedTuple):
    """The curve and the policies of one arm."""

    arm: str
    subject: str
    verdict: str
    chip: str
    tone: str
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
    found = next((each for each in metrics if each.metric == policy.metric), None)
    unit, subject = _unit(found), _subject(policy, found)
    points = [
        plots.Share(point.share, point.value.estimate, point.value.low, point.value.high)
        for point in policy.curve
        if point.value.estimate is not None and point.value.low is not None and point.value.high is not None
    ]
    most = max(policy.policies, key=_earned, default=None)
    chip, tone = _judged(policy, most)
    return PolicyView(
        arm=policy.arm,
        subject=subject,
        verdict=policy.reason,
        chip=chip,
        tone=tone,
        best=formats.plain(policy.best_share, formats.SHARE),
        gain=formats.interval(policy.gain_over_contact_all, unit),
        plot=_curve(policy, subject, points, unit) if len(points) > 1 else None,
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
                each is most,
                formats.plain(each.share_contacted, formats.SHARE),
                formats.signed(each.value.estimate, unit),
                formats.between(each.value.low, each.value.high, unit),
            )
            for each in policy.policies
        ),
    )


def _earned(policy: PolicyValue) -> float:
    return -inf if policy.value.estimate is None else policy.value.estimate


def _judged(policy: Policy, most: PolicyValue | None) -> tuple[str, str]:
    """What is shown of the learned policy, and its tone: good only where nothing simpler did better."""
    gain = policy.gain_over_contact_all
    if most is None:
        return "cannot be learnt yet", "open"
    if policy.accepted and most.policy == "learned":
        return "beats contacting everyone", "better"
    if policy.accepted:
        return "beats contacting everyone, but not the best here", "open"
    if gain.high is not None and gain.high < 0:
        return "loses to contacting everyone", "worse"
    return "not shown to beat contacting everyone", "open"


def _unit(metric: MetricResult | None) -> Unit:
    """Money with its cents; of other metrics three significant digits, for differences are small."""
    if metric is None:
        return formats.money(None)
    return formats.unit_of(metric) if metric.currency else formats.unit_of(metric)._replace(digits=None)


def _subject(policy: Policy, metric: MetricResult | None) -> str:
    """What is added up: profit where the metric is money, else the metric by its name."""
    if metric is not None and metric.currency:
        return "profit"
    return (metric.name if metric else None) or formats.words(policy.metric)


def _curve(policy: Policy, subject: str, points: Sequence[plots.Share], unit: Unit) -> Markup:
    on = scale([end for point in points for end in (point.low, point.high)], ticks=5)
    labels = [formats.tick(tick, unit) for tick in on.ticks]
    described = (
        f"{subject} per customer over contacting nobody, by the share of customers contacted with {policy.arm}, best "
        f"ranked first. At 100 %: {formats.signed(points[-1].estimate, unit)}. Largest at "
        f"{formats.plain(policy.best_share, formats.SHARE)}."
    )
    return plots.profit(f"{subject} by share contacted, {policy.arm}", described, points, policy.best_share, on, labels)


def uplift_view(uplift: Uplift, metrics: Sequence[MetricResult]) -> UpliftView:
    """How well effects by customer are ranked, and by what."""
    found = next((metric for metric in metrics if metric.metric == uplift.metric), None)
    unit = _unit(found)
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
