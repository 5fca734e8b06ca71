"""From what SQL adds up to the moments of every arm: who is mature, who counts as zero, what contacts cost."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from math import nan
from typing import NamedTuple, Protocol
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from shared.contracts.experiments import Arm, Split
from shared.contracts.metrics import MONEY, Maturity, Metric, MetricKind
from shared.stats import moments
from shared.stats.means import Stratum
from shared.stats.moments import Moments
from shared.stats.small_sample import Kind


class Cohort(NamedTuple):
    """Customers of one arm and stratum whose t0 falls on one day (UTC)."""

    arm: str
    stratum: str
    day: date
    customers: int
    earliest_t0: datetime
    latest_t0: datetime


class Sums(NamedTuple):
    """What those customers of a cohort have who have an outcome, capped; `total` and `largest` are uncapped.

    `other_currency`: their responses whose money is not counted, which so many of the `customers` are `lacking`.
    """

    metric_id: UUID
    arm: str
    stratum: str
    day: date
    responders: int
    mean: float | None
    variance: float | None
    mean_cube: float | None
    total: float
    largest: float
    other_currency: int
    customers: int
    lacking: int


class Balance(NamedTuple):
    """A numeric feature as it was frozen, of one arm's customers."""

    feature: str
    arm: str
    n: int
    mean: float
    variance: float | None


class Responders(Protocol):
    """What SQL says of those of a group whose value is not zero."""

    @property
    def responders(self) -> int: ...
    @property
    def mean(self) -> float | None: ...
    @property
    def variance(self) -> float | None: ...
    @property
    def mean_cube(self) -> float | None: ...


class Discrepancies(NamedTuple):
    """Events that do not fit the assignments: before t0, naming another arm, contacts of arms without contact."""

    early: int
    other_arm: int
    contacted: int


class ByDay(NamedTuple):
    """Values of an arm's and stratum's customers with an outcome, by each of some days after t0: (customers, days)."""

    metric_id: UUID
    arm: str
    stratum: str
    values: NDArray[np.float64]


Values = Mapping[tuple[str, str], NDArray[np.float64]]  # by arm and stratum
ByStratum = dict[str, Moments]


class Figures(NamedTuple):
    """One metric's figures. `arms`: moments by arm and stratum of those who count; `mature`: customers by arm whose
    window has closed and whose late responses are in, the last of them with the t0 `mature_until`; `total`: uncapped
    sums by arm, of profit net of contacts; `days`: of t0, of those who count; `waiting`: responders so far of those who
    do not, and `closes`: when the first of their windows does."""

    metric: Metric
    arms: dict[str, ByStratum]
    mature: dict[str, int]
    mature_until: datetime | None
    total: dict[str, float]
    days: frozenset[date]
    waiting: int
    closes: datetime | None

    def of(self, arm: str) -> Moments:
        """All strata of an arm together."""
        return moments.merged(self.arms.get(arm, {}).values())


def kind_of(metric: Metric) -> Kind:
    """What a metric is to the rules about small samples."""
    if metric.kind in MONEY:
        return Kind.MONEY
    return Kind.PROPORTION if metric.kind is MetricKind.PROPORTION else Kind.COUNT


def mature_days(cohorts: Iterable[Cohort], window_days: int, until: datetime) -> frozenset[date]:
    """Days of t0 whose customers' windows had all closed by `until`, whatever their arm."""
    return frozenset(day for day, t0 in _latest(cohorts).items() if t0 + timedelta(days=window_days) <= until)


def mature_until(cohorts: Sequence[Cohort], window_days: int, until: datetime) -> datetime | None:
    """The last t0 of those who are mature by `until`: whoever has it, or an earlier one, is mature too."""
    days = mature_days(cohorts, window_days, until)
    return max((cohort.latest_t0 for cohort in cohorts if cohort.day in days), default=None)


def _latest(cohorts: Iterable[Cohort]) -> dict[date, datetime]:
    """The last t0 of each day."""
    latest: dict[date, datetime] = {}
    for cohort in cohorts:
        latest[cohort.day] = max(cohort.latest_t0, latest.get(cohort.day, cohort.latest_t0))
    return latest


def begun_days(cohorts: Iterable[Cohort], as_of: datetime) -> frozenset[date]:
    """Days of t0 whose customers had all reached it by `as_of`: before it nothing can be seen of a customer."""
    return frozenset(day for day, t0 in _latest(cohorts).items() if t0 <= as_of)


def first_close(cohorts: Iterable[Cohort], window_days: int) -> datetime | None:
    """When the first day's windows close, all of them; None where there is nobody."""
    return min((t0 + timedelta(days=window_days) for t0 in _latest(cohorts).values()), default=None)


def figures(
    metric: Metric,
    arms: Sequence[Arm],
    cohorts: Sequence[Cohort],
    sums: Sequence[Sums],
    until: datetime,
    as_of: datetime,
) -> Figures:
    """A metric's figures: mature customers of a closed metric; of an open one all whose t0 has come by `as_of`.

    Those without an outcome are zeros. Profit is net of the cost of contacts, which every customer of a contacted arm
    has.
    """
    mature = mature_days(cohorts, metric.window_days, until)
    days = mature if metric.maturity is Maturity.CLOSED else begun_days(cohorts, as_of)
    own = [row for row in sums if row.metric_id == metric.id and row.day in days]
    found = grouped([cohort for cohort in cohorts if cohort.day in days], own)
    others = [cohort for cohort in cohorts if cohort.day not in days]
    costs = {arm.key: _cost(arm, metric) * customers_of(cohorts, arm.key, days) for arm in arms}
    return Figures(
        metric,
        {arm.key: net(found.get(arm.key, {}), arm, metric) for arm in arms},
        {arm.key: customers_of(cohorts, arm.key, mature) for arm in arms},
        mature_until(cohorts, metric.window_days, until),
        {arm.key: sum(row.total for row in own if row.arm == arm.key) - costs[arm.key] for arm in arms},
        days,
        sum(row.responders for row in sums if row.metric_id == metric.id and row.day not in days),
        first_close(others, metric.window_days),
    )


def customers_of(cohorts: Iterable[Cohort], arm: str, days: Collection[date] | None = None) -> int:
    """Customers of an arm, of some days or of all."""
    return sum(each.customers for each in cohorts if each.arm == arm and (days is None or each.day in days))


def grouped(cohorts: Iterable[Cohort], sums: Iterable[Sums]) -> dict[str, ByStratum]:
    """Moments by arm and stratum, days pooled."""
    known = {(row.arm, row.stratum, row.day): row for row in sums}
    parts: dict[str, dict[str, list[Moments]]] = {}
    for cohort in cohorts:
        row = known.get((cohort.arm, cohort.stratum, cohort.day))
        parts.setdefault(cohort.arm, {}).setdefault(cohort.stratum, []).append(with_zeros(cohort.customers, row))
    return {arm: {stratum: moments.merged(each) for stratum, each in strata.items()} for arm, strata in parts.items()}


def with_zeros(customers: int, row: Responders | None) -> Moments:
    """Moments of all customers of a group, from those of its responders."""
    if row is None or not row.responders:
        return moments.with_zeros(customers, 0, nan, nan)
    return moments.with_zeros(
        customers, row.responders, _number(row.mean), _number(row.variance), _number(row.mean_cube)
    )


def _number(found: float | None) -> float:
    return nan if found is None else found


def net(strata: ByStratum, arm: Arm, metric: Metric) -> ByStratum:
    """Of profit: less what contacting cost. Other metrics stay."""
    cost = _cost(arm, metric)
    if not cost:
        return strata
    return {stratum: moments.shifted(found, -cost) if found.n else found for stratum, found in strata.items()}


def _cost(arm: Arm, metric: Metric) -> float:
    return contact_cost(arm) if metric.kind is MetricKind.PROFIT else 0.0


def contact_cost(arm: Arm) -> float:
    """What contacting one customer of the arm costs; nothing where nobody is contacted."""
    return float(arm.cost_per_contact or 0) if arm.contacted else 0.0


def strata_of(control: ByStratum, treatment: ByStratum, split: Split) -> list[Stratum]:
    """Both arms side by side: by stratum where the split was exact within each, else all together."""
    if split is Split.HASH:
        return [Stratum(moments.merged(control.values()), moments.merged(treatment.values()))]
    names = sorted({*control, *treatment})
    return [Stratum(control.get(name, moments.EMPTY), treatment.get(name, moments.EMPTY)) for name in names]


def baseline(arms: Sequence[Arm], metric: Metric) -> Arm | None:
    """The arm that others are compared with: the control, unless only contacted customers can show the response."""
    control = next(arm for arm in arms if arm.control)
    if metric.observable == "all_arms" or control.contacted:
        return control
    return next((arm for arm in arms if arm.contacted), None)


def compared(arms: Sequence[Arm], metric: Metric) -> list[tuple[Arm, Arm]]:
    """The comparisons of a metric: (arm, arm it is compared with)."""
    base = baseline(arms, metric)
    if base is None:
        return []
    able = [arm for arm in arms if metric.observable == "all_arms" or arm.contacted]
    return [(arm, base) for arm in able if arm.key != base.key]
