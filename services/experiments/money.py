"""What an arm brought, in money: profit beyond the control's, and what an additional response cost. Pure."""

from collections.abc import Sequence
from decimal import Decimal

from shared.contracts.experiments import Arm, Experiment
from shared.contracts.metrics import MetricKind
from shared.contracts.results import ArmMoney, ArmSize, Effect, Interval, MetricResult

NOTHING = Interval(estimate=None, low=None, high=None)
NO_PROFIT = "no profit metric is measured"
NONE_SHOWN = "more responses are not shown, so their cost has no upper end"


def money(experiment: Experiment, sizes: Sequence[ArmSize], metrics: Sequence[MetricResult]) -> list[ArmMoney]:
    """Every arm but the control, for all its customers; intervals are those of the effects, scaled by its size."""
    profit = next((each for each in metrics if each.kind is MetricKind.PROFIT), None)
    counting = (MetricKind.PROPORTION, MetricKind.COUNT)
    responses = next((each for each in metrics if each.kind in counting), None)
    by_key = {size.arm: size for size in sizes}
    return [
        _arm(
            arm,
            by_key[arm.key],
            _against_control(experiment, profit, arm),
            _against_control(experiment, responses, arm),
        )
        for arm in experiment.arms
        if not arm.control
    ]


def _against_control(
    experiment: Experiment, metric: MetricResult | None, arm: Arm
) -> tuple[MetricResult, Effect] | None:
    if metric is None:
        return None
    for effect in metric.effects:
        if effect.arm == arm.key and effect.against == experiment.control.key:
            return metric, effect
    return None


def _arm(
    arm: Arm,
    size: ArmSize,
    profit: tuple[MetricResult, Effect] | None,
    responses: tuple[MetricResult, Effect] | None,
) -> ArmMoney:
    cost = (arm.cost_per_contact or Decimal(0)) * size.contacts
    more = _scaled(responses[1], size.assigned) if responses else NOTHING
    price = _per_response(cost, more)
    notes = [NO_PROFIT] if profit is None else []
    if more.estimate is not None and price.high is None and cost:
        notes.append(NONE_SHOWN)
    return ArmMoney(
        arm=arm.key,
        currency=profit[0].currency if profit else None,
        incremental_profit=_scaled(profit[1], size.assigned) if profit else NOTHING,
        incremental_responses=more,
        contacts=size.contacts,
        cost=cost,
        cost_per_incremental_response=price,
        note="; ".join(notes) or None,
    )


def _scaled(effect: Effect, customers: int) -> Interval:
    found = effect.absolute
    return Interval(
        estimate=None if found.estimate is None else found.estimate * customers,
        low=None if found.low is None else found.low * customers,
        high=None if found.high is None else found.high * customers,
    )


def _per_response(cost: Decimal, more: Interval) -> Interval:
    """Cost over additional responses. The cost is known, so the interval is that of the responses turned over.

    Where no additional response may be the truth it has only a lower end: a price of at least so much.

    >>> price = _per_response(Decimal(100), Interval(estimate=50, low=-10, high=200))
    >>> price.estimate, price.low, price.high
    (2.0, 0.5, None)
    """

    def price(responses: float | None) -> float | None:
        return float(cost) / responses if responses is not None and responses > 0 else None

    if not cost:
        return NOTHING
    return Interval(estimate=price(more.estimate), low=price(more.high), high=price(more.low))
