"""Ship, stop or keep running: the verdicts put into one, with the reasons in plain words. Pure."""

from collections.abc import Sequence

from services.experiments.health import LATE_ARRIVALS
from services.experiments.signs import minus
from shared.contracts.experiments import Experiment, MetricRole, State
from shared.contracts.metrics import Direction, MetricKind
from shared.contracts.results import CheckStatus, Decision, DecisionVerdict, Effect, MetricResult, Results, Verdict


def decide(experiment: Experiment, results: Results) -> Decision:
    """What to do, and, where customers are held back because events come late, that too."""
    found = _decide(experiment, results)
    late = [f"{check.detail} {check.advice}" for check in results.health if check.check == LATE_ARRIVALS]
    return found.model_copy(update={"reasons": [*found.reasons, *late]})


def _decide(experiment: Experiment, results: Results) -> Decision:
    """A failed health check stands above every effect, a shown loss above a shown gain."""
    failed = [check for check in results.health if check.status is CheckStatus.FAILED]
    if failed:
        reasons = [f"{check.detail} {check.advice}" for check in failed]
        return _decision(results, DecisionVerdict.STOP, None, ["The experiment is not healthy.", *reasons])
    primary = next(metric for metric in results.metrics if metric.role is MetricRole.PRIMARY)
    if not primary.effects:
        why = f"Nothing is compared on {primary.metric}: only contacted customers can show it, in fewer than two arms."
        return _decision(results, DecisionVerdict.STOP, None, [why, "More customers or time will not change that."])
    winners, reasons = list[Effect](), list[str]()
    for effect in primary.effects:
        objections = _objections(experiment, results.metrics, effect.arm)
        reasons += [_sentence(primary, effect), *objections]
        if effect.verdict is Verdict.BETTER and not objections:
            winners.append(effect)
    if winners:
        best = max(winners, key=lambda effect: _gain(primary, effect))
        return _decision(results, DecisionVerdict.SHIP, best.arm, reasons)
    return _without_winner(results, primary, reasons)


def _without_winner(results: Results, primary: MetricResult, reasons: list[str]) -> Decision:
    verdicts = [effect.verdict for effect in primary.effects]
    if verdicts and all(verdict is Verdict.WORSE for verdict in verdicts):
        return _decision(
            results, DecisionVerdict.STOP, None, [*reasons, f"Every arm does worse than {_bases(primary)}."]
        )
    better = Verdict.BETTER in verdicts
    if all(metric.ended for metric in results.metrics if metric.effects):
        last = "what is shown better is objected to" if better else "no arm is shown better"
        return _decision(results, DecisionVerdict.STOP, None, [*reasons, f"The end is reached: {last}."])
    more = "Windows that are still open" if results.state == State.STOPPED else "More customers or time"
    last = "remove the objection" if better else "show it"
    return _decision(results, DecisionVerdict.KEEP_RUNNING, None, [*reasons, f"{more} may still {last}."])


def _gain(primary: MetricResult, effect: Effect) -> float:
    """By how much an arm is better, as of the moment its verdict speaks of."""
    estimate = effect.absolute.estimate
    if estimate is None:
        raise ValueError(f"arm {effect.arm} is better on {primary.metric} without an estimate")
    return estimate if primary.direction is Direction.UP else -estimate


def _objections(experiment: Experiment, metrics: Sequence[MetricResult], arm: str) -> list[str]:
    """Why an arm should not be shipped whatever the primary metric says."""
    margins = {guardrail.metric: guardrail.margin for guardrail in experiment.metrics.guardrails}
    found = []
    for metric in metrics:
        if metric.role is MetricRole.GUARDRAIL and not metric.effects:
            why = "only contacted customers can show it, and the arm is not compared with another"
            found.append(f"Guardrail {metric.metric} cannot be judged in arm {arm}: {why}.")
        for effect in metric.effects:
            if metric.role is MetricRole.GUARDRAIL and effect.against == arm:
                found += _guarded_base(metric, effect, margins.get(metric.metric))
            if effect.arm != arm:
                continue
            if metric.role is MetricRole.GUARDRAIL:
                found += _guarded(metric, effect, margins.get(metric.metric))
            elif metric.kind is MetricKind.PROFIT and effect.verdict is Verdict.WORSE:
                found.append(f"Arm {arm} loses money: {_change(metric, effect)}.")
    return found


def _guarded(metric: MetricResult, effect: Effect, margin: float | None) -> list[str]:
    if effect.verdict is Verdict.WORSE:
        return [f"Guardrail {metric.metric} suffers in arm {effect.arm}: {_change(metric, effect)}."]
    worst = effect.relative.low if metric.direction is Direction.UP else effect.relative.high
    return _margin_kept(metric, effect.arm, worst, margin)


def _guarded_base(metric: MetricResult, effect: Effect, margin: float | None) -> list[str]:
    """The same of the arm that another is compared with: of two contacted arms the first must not suffer either."""
    if effect.verdict is Verdict.BETTER:
        told = f"arm {effect.arm} compares with it by {_change(metric, effect)}"
        return [f"Guardrail {metric.metric} suffers in arm {effect.against}: {told}."]
    most = effect.relative.high if metric.direction is Direction.UP else effect.relative.low
    worst = None if most is None or most <= -1 else 1 / (1 + most) - 1
    return _margin_kept(metric, effect.against, worst, margin)


def _margin_kept(metric: MetricResult, arm: str, worst: float | None, margin: float | None) -> list[str]:
    """An objection unless the `worst` relative change that is not ruled out is within the margin, if there is one."""
    if margin is None or (worst is not None and (worst if metric.direction is Direction.DOWN else -worst) <= margin):
        return []
    return [f"Guardrail {metric.metric}: a loss of more than {margin:.1%} in arm {arm} is not ruled out."]


def _bases(metric: MetricResult) -> str:
    return " and ".join(sorted({effect.against for effect in metric.effects}))


def _sentence(metric: MetricResult, effect: Effect) -> str:
    said = {
        Verdict.BETTER: f"Arm {effect.arm} does better on {metric.metric} than {effect.against}",
        Verdict.WORSE: f"Arm {effect.arm} does worse on {metric.metric} than {effect.against}",
        Verdict.NOT_SHOWN: f"Arm {effect.arm} is not shown to differ on {metric.metric} from {effect.against}",
        Verdict.TOO_FEW: f"There are too few responses to judge arm {effect.arm} on {metric.metric}",
    }[effect.verdict]
    change = "" if effect.verdict is Verdict.TOO_FEW else f": {_change(metric, effect)}"
    return f"{said}{change}."


def _change(metric: MetricResult, effect: Effect) -> str:
    """The effect in words: percentage points, or units per customer, with the interval where there is one."""
    scale, unit = (100, " percentage points") if metric.kind is MetricKind.PROPORTION else (1, " per customer")
    if metric.currency:
        unit = f" {metric.currency} per customer"
    found = effect.absolute
    if found.estimate is None:
        return "no estimate"

    def shown(value: float) -> str:
        cents = metric.currency is not None and abs(value) >= 0.005  # what would read 0.00 keeps its digits
        return minus(f"{value * scale:+,.2f}" if cents else f"{value * scale:+.4g}")

    text = f"{shown(found.estimate)}{unit}"
    if found.low is not None and found.high is not None:
        text += f" (between {shown(found.low)} and {shown(found.high)})"
    return text


def _decision(results: Results, verdict: DecisionVerdict, arm: str | None, reasons: list[str]) -> Decision:
    return Decision(
        experiment=results.experiment,
        as_of=results.as_of,
        verdict=verdict,
        arm=arm,
        healthy=all(check.status is not CheckStatus.FAILED for check in results.health),
        reasons=reasons,
    )
