"""Is the experiment healthy? Each check answers with its figure, what it means and what to do. Pure."""

from collections.abc import Sequence
from datetime import timedelta
from math import sqrt
from typing import NamedTuple

from services.experiments import bucketing, counted
from services.experiments.figures import Balance, Discrepancies, Sums
from services.experiments.signs import minus
from shared.contracts.experiments import Experiment, Population, Split
from shared.contracts.metrics import Metric, MetricKind
from shared.contracts.results import ArmSize, CheckStatus, Counted, HealthCheck
from shared.stats import sample_ratio

OK, WARNING, FAILED = CheckStatus.OK, CheckStatus.WARNING, CheckStatus.FAILED
FEW = 0.01  # of the customers assigned
LARGE_SHARE = 0.1
LARGE_DIFFERENCE = 0.1  # standard deviations
SURPRISING = 4.0  # standard errors, with many features looked at
LATE = timedelta(days=2)  # nightly files are no reason to warn
LATE_ARRIVALS = "late_arrivals"
SILENT_AFTER = timedelta(days=1)  # of the first customers' windows
SUMMED = (MetricKind.COUNT, MetricKind.REVENUE, MetricKind.PROFIT)


class Vitals(NamedTuple):
    """What the checks look at. `discrepancies` are known as of now only; `counted_for` is how long the first customer
    has been counted, nothing where there is none; `counted`, how far, is null where everybody is mature."""

    experiment: Experiment
    sizes: Sequence[ArmSize]
    metrics: Sequence[Metric]
    sums: Sequence[Sums]
    discrepancies: Discrepancies | None
    balance: Sequence[Balance]
    pending: int
    counted_for: timedelta
    counted: Counted | None

    @property
    def assigned(self) -> int:
        return sum(size.assigned for size in self.sizes)


def checks(vitals: Vitals) -> list[HealthCheck]:
    """All checks that apply, those of the arms' sizes first."""
    found = [sizes_check(vitals.experiment, vitals.sizes), *_discrepancies(vitals), *_currencies(vitals)]
    found += [*_balance(vitals), *_largest_customer(vitals), *_silence(vitals), *_arrivals(vitals)]
    return [*found, *_lateness(vitals)]


def sizes_check(experiment: Experiment, sizes: Sequence[ArmSize]) -> HealthCheck:
    """Whether the arms have the sizes that the design gave them."""
    observed, weights = [size.assigned for size in sizes], [size.weight for size in sizes]
    if experiment.split is Split.EXACT and experiment.population is Population.LIST:
        return _exact([size.arm for size in sizes], observed, weights)
    found = sample_ratio.chi_square(observed, weights)
    p_value = found.p_value
    if experiment.population is not Population.EXTERNAL and experiment.population is not Population.LIST:
        p_value = sample_ratio.sequential_p_value(observed, weights)
    failed = p_value < sample_ratio.LEVEL
    shown = _sizes([size.arm for size in sizes], observed)
    return HealthCheck(
        check="sample_ratio",
        status=FAILED if failed else OK,
        figure=p_value,
        detail=f"Arms have {shown} customers; by the weights that is {'not ' if failed else ''}plausible.",
        advice="Believe no effect before the missing customers are explained." if failed else "Nothing to do.",
    )


def _exact(arms: list[str], observed: list[int], weights: list[float]) -> HealthCheck:
    expected = bucketing.largest_remainder(sum(observed), weights).tolist()
    right = sample_ratio.exact_counts(observed, expected)
    return HealthCheck(
        check="exact_counts",
        status=OK if right else FAILED,
        figure=float(sum(abs(one - other) for one, other in zip(observed, expected, strict=True))),
        detail=f"An exact split gives {_sizes(arms, expected)}; "
        + ("so it is." if right else f"there are {_sizes(arms, observed)}."),
        advice="Nothing to do." if right else "Assignments were changed after the draw: believe no effect.",
    )


def _sizes(arms: Sequence[str], customers: Sequence[int]) -> str:
    return ", ".join(f"{arm} {count:,}" for arm, count in zip(arms, customers, strict=True))


def _discrepancies(vitals: Vitals) -> list[HealthCheck]:
    found = vitals.discrepancies
    if found is None:
        return []
    return [
        _counted(
            vitals,
            ("responses_before_start", found.early),
            "events speak of this experiment and happened before their customer's t0",
            "Check t0 against the real sending time, and the clocks of what sends events.",
        ),
        _counted(
            vitals,
            ("arms_contradicted", found.other_arm),
            "events name another arm than the stored one",
            "Check that the sending tool took its arms from the sending list; the stored arm counts.",
        ),
        _counted(
            vitals,
            ("contacts_of_uncontacted_arms", found.contacted),
            "contacts went to customers whose arm is not contacted",
            "Check what was sent to whom: such contacts shrink every effect.",
        ),
    ]


def _counted(vitals: Vitals, found: tuple[str, int], meaning: str, advice: str) -> HealthCheck:
    check, count = found
    share = count / max(1, vitals.assigned)
    return HealthCheck(
        check=check,
        status=OK if not count else WARNING if share < FEW else FAILED,
        figure=float(count),
        detail=f"{count:,} {meaning}.",
        advice=advice if count else "Nothing to do.",
    )


def _balance(vitals: Vitals) -> list[HealthCheck]:
    """The largest standardised difference of a frozen feature between an arm and the control."""
    if not vitals.balance:
        return []
    compared = {row.arm for row in vitals.balance}
    missing = [size.arm for size in vitals.sizes if size.assigned and size.arm not in compared]
    if missing:
        return [_without_features(missing)]
    control = {row.feature: row for row in vitals.balance if row.arm == vitals.experiment.control.key}
    differences = [
        (_standardised(row, control[row.feature]), f"{row.feature} in arm {row.arm}")
        for row in vitals.balance
        if row.arm != vitals.experiment.control.key and row.feature in control
    ]
    if not differences:
        return []
    (difference, surprise), name = max(differences, key=lambda each: abs(each[0][0]))
    unlike = abs(difference) > LARGE_DIFFERENCE and abs(surprise) > SURPRISING
    return [
        HealthCheck(
            check="balance",
            status=WARNING if unlike else OK,
            figure=abs(difference),
            detail=f"The largest difference before the start is {minus(f'{difference:+.3f}')} standard deviations: "
            f"{name}.",
            advice="Look how customers came into the arms." if unlike else "Nothing to do.",
        )
    ]


def _without_features(arms: Sequence[str]) -> HealthCheck:
    """Nothing says whether an arm is like the others when only the others' features are known."""
    return HealthCheck(
        check="balance",
        status=WARNING,
        figure=None,
        detail=f"No numeric feature is known of the customers compared in {', '.join(arms)}, but of others.",
        advice="Look how customers came into the arms, and whether their attributes were loaded before.",
    )


def _standardised(arm: Balance, control: Balance) -> tuple[float, float]:
    """Difference of the means in standard deviations, and in standard errors."""
    spread = sqrt(((arm.variance or 0.0) + (control.variance or 0.0)) / 2)
    if not spread:
        return 0.0, 0.0
    difference = (arm.mean - control.mean) / spread
    return difference, difference / sqrt(1 / arm.n + 1 / control.n)


def _currencies(vitals: Vitals) -> list[HealthCheck]:
    money = [metric for metric in vitals.metrics if metric.currency is not None]
    if not money:
        return []
    worst = max((_uncounted(vitals, metric) for metric in money), key=lambda each: each.share)
    return [
        HealthCheck(
            check="currency",
            status=OK if not worst.responses else WARNING if worst.share < FEW else FAILED,
            figure=worst.share,
            detail=f"{worst.responses:,} responses with money in another currency, or in none, are not counted by "
            f"{worst.metric}: {worst.share:.1%} of the customers who responded sent them."
            if worst.responses
            else "All money is in the currency of the metrics.",
            advice="Send amounts in the metric's currency." if worst.responses else "Nothing to do.",
        )
    ]


class _Uncounted(NamedTuple):
    """Responses that a metric leaves out for their currency, and the share of its responding customers who sent them.

    Metrics may count the same response, so they are never added up.
    """

    metric: str
    responses: int
    share: float


def _uncounted(vitals: Vitals, metric: Metric) -> _Uncounted:
    rows = [row for row in vitals.sums if row.metric_id == metric.id]
    customers = sum(row.customers for row in rows)
    return _Uncounted(
        metric.key, sum(row.other_currency for row in rows), sum(row.lacking for row in rows) / max(1, customers)
    )


def _largest_customer(vitals: Vitals) -> list[HealthCheck]:
    found: list[HealthCheck] = []
    for metric in vitals.metrics:
        rows = [row for row in vitals.sums if row.metric_id == metric.id]
        total = sum(abs(row.total) for row in rows)
        if metric.kind not in SUMMED or not total:
            continue
        share = max(row.largest for row in rows) / total
        found.append(
            HealthCheck(
                check=f"largest_customer:{metric.key}",
                status=WARNING if share > LARGE_SHARE else OK,
                figure=share,
                detail=f"One customer holds {share:.1%} of all {metric.key}.",
                advice="Look at that customer; a cap keeps one from deciding."
                if share > LARGE_SHARE
                else "Nothing to do.",
            )
        )
    return found


def _silence(vitals: Vitals) -> list[HealthCheck]:
    """A metric that nobody's response was ever counted for: what it counts may be called otherwise where it is sent."""
    if not vitals.assigned or vitals.counted_for < SILENT_AFTER:
        return []
    heard = {row.metric_id for row in vitals.sums}
    silent = [metric for metric in vitals.metrics if metric.id not in heard]
    kinds = sorted({event.event for metric in silent for event in metric.counted()})
    named = ", ".join(metric.key for metric in silent)
    detail = f"Nobody ever sent what {named} counts ({', '.join(kinds)}) about a customer assigned."
    return [
        HealthCheck(
            check="responses_arrive",
            status=WARNING if silent else OK,
            figure=float(len(silent)),
            detail=detail if silent else "Every metric has responses.",
            advice="Check the kinds of event that are sent, the ids of their customers, and the metric's conditions."
            if silent
            else "Nothing to do.",
        )
    ]


def _arrivals(vitals: Vitals) -> list[HealthCheck]:
    if not vitals.pending:
        return []
    return [
        HealthCheck(
            check="arrivals",
            status=WARNING,
            figure=float(vitals.pending),
            detail=f"{vitals.pending:,} batches have arrived and are not counted yet.",
            advice="Wait some seconds; if it stays, look at the worker.",
        )
    ]


def _lateness(vitals: Vitals) -> list[HealthCheck]:
    """Files of the last days, or history, hold every experiment back: whoever waits for a verdict should know."""
    late = vitals.counted.waits_for if vitals.counted else None
    if vitals.counted is None or late is None or timedelta(hours=late.hours) < LATE:
        return []
    return [
        HealthCheck(
            check=LATE_ARRIVALS,
            status=WARNING,
            figure=late.hours / 24,
            detail=f"Late arrivals are waited for: {counted.words(late)}, so only what occurred until "
            f"{counted.moment(vitals.counted.until)} is taken as complete.",
            advice=f"Wait, or send such events sooner: if none comes as late again, this ends on "
            f"{late.forgotten:%Y-%m-%d}.",
        )
    ]
