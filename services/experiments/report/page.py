"""What the page shows, made ready as text: the template only places it."""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from services.experiments.report import formats, learned, story
from services.experiments.report.effects import metric_view
from services.experiments.report.formats import Figure
from services.experiments.report.series import series_view
from shared.contracts.experiments import Experiment, MetricRole
from shared.contracts.policies import Policy, Uplift
from shared.contracts.results import ArmMoney, CheckStatus, Decision, History, Results
from shared.contracts.targeting import FunnelStep


class Report(NamedTuple):
    """Everything the page may show. `uplift` and `policies` hold one answer per arm that has one."""

    experiment: Experiment
    results: Results
    decision: Decision
    history: History | None = None
    uplift: Sequence[Uplift] = ()
    policies: Sequence[Policy] = ()
    funnel: Sequence[FunnelStep] = ()


class MoneyRow(NamedTuple):
    """What one arm brought and cost."""

    arm: str
    profit: Figure
    responses: Figure
    contacts: str
    cost: str
    per_response: Figure
    note: str | None


class ArmRow(NamedTuple):
    """Who was dealt to an arm."""

    arm: str
    role: str
    weight: str
    assigned: str
    contacts: str
    cost: str


def render(report: Report) -> str:
    """The page as one HTML document: no scripts, nothing fetched, every figure also as text.

    Names, hypotheses and notes come from outside and are escaped. What is null is a dash, with the reason beside it
    where the contract gives one.
    """
    results, experiment = report.results, report.experiment
    failed = [check for check in results.health if check.status is CheckStatus.FAILED]
    primary = next((metric for metric in results.metrics if metric.role is MetricRole.PRIMARY), None)
    return _template().render(
        title=experiment.name or experiment.key,
        experiment=experiment,
        results=results,
        assigned=sum(arm.assigned for arm in results.arms),
        decision=story.decision_view(report.decision),
        failed=[story.check_view(check) for check in failed],
        checks=[story.check_view(check) for check in story.failed_first(results.health)],
        metrics=[metric_view(metric) for metric in results.metrics],
        series=series_view(primary, report.history.points) if primary and report.history else [],
        money=[_money_row(money) for money in results.money],
        arms=_arm_rows(experiment, results),
        policies=[learned.policy_view(policy, results.metrics) for policy in report.policies],
        uplift=[learned.uplift_view(uplift, results.metrics) for uplift in report.uplift],
        funnel=learned.funnel_view(report.funnel),
        notes=story.notes(experiment, results),
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("services.experiments.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"moment": formats.moment, "whole": formats.whole, "words": formats.words}
    return environment.get_template("report.html")


def _money_row(money: ArmMoney) -> MoneyRow:
    unit, count = formats.money(money.currency), formats.money(None)
    return MoneyRow(
        arm=money.arm,
        profit=formats.interval(money.incremental_profit, unit),
        responses=formats.interval(money.incremental_responses, count),
        contacts=formats.whole(money.contacts),
        cost=formats.plain(float(money.cost), unit),
        per_response=formats.cost(money.cost_per_incremental_response, unit),
        note=money.note,
    )


def _arm_rows(experiment: Experiment, results: Results) -> list[ArmRow]:
    costs = {arm.key: arm.cost_per_contact for arm in experiment.arms}
    return [
        ArmRow(
            arm=size.arm,
            role="control" if size.control else "contacted" if size.contact else "not contacted",
            weight=formats.plain(size.weight, formats.PER_CENT),
            assigned=formats.whole(size.assigned),
            contacts=formats.whole(size.contacts),
            cost=formats.NONE if (cost := costs.get(size.arm)) is None else f"{cost:f}",
        )
        for size in results.arms
    ]
