"""The rule that turns looks into a verdict. Services and simulations call this same function.

What may be looked at, and how often, follows from how customers enter: see `Design`. Each look is decided once, from
the figures of that moment and a few numbers kept of the looks before; late data never redraw a past bound.
"""

from collections.abc import Callable, Sequence
from enum import StrEnum
from math import ceil, copysign, exp, inf, isfinite, log, nan
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from shared.stats import correlated_looks, group_sequential, means, randomisation, sequential, small_sample
from shared.stats.group_sequential import Spending
from shared.stats.interval import Interval, unknown
from shared.stats.moments import merged
from shared.stats.randomisation import Draw
from shared.stats.skew_correction import corrected
from shared.stats.small_sample import Kind

Array = npt.NDArray[np.float64]

MOST_BEFORE_THE_END = 0.9  # of the information, however much there is: the last look keeps something to spend
EXCEEDANCES = 40  # re-deals expected beyond the bound
MOST_DRAWS = 100_000
STOP_AFTER = 20
LARGEST_P = 0.5  # sequential p-values above it are given as 1
LEAST_P = 1e-12


class Design(StrEnum):
    """How customers enter, which decides how looks hang together."""

    ONE_BLAST = "one_blast"
    STAGGERED = "staggered"
    OPEN_ENROLMENT = "open_enrolment"


class Plan(NamedTuple):
    """What was frozen at the start. `planned_standard_error` is that of the difference at the planned end, in the
    metric's unit: staggered sends and open enrolment need it, one blast does not.
    """

    design: Design
    alpha: float = 0.05
    spending: Spending = Spending.QUADRATIC
    planned_standard_error: float = nan


class Evidence(NamedTuple):
    """What is known at a look.

    strata
        Moments of both arms: of everyone's outcome so far (one blast), of mature customers (staggered), of everyone
        enrolled (open enrolment).
    fraction
        Of the window gone by (one blast), or of the customers mature (staggered; caps the information). Unused
        otherwise.
    correlation
        One blast: between all past looks and this one, in order, shape (k, k), from `correlated_looks.correlation`.
    draw, seed
        Money on a frozen list: how it was dealt, for the randomisation test.
    """

    strata: Sequence[means.Stratum]
    kind: Kind
    fraction: float = nan
    final: bool = False
    correlation: Array | None = None
    draw: Draw | None = None
    seed: int = 0


class PastLook(NamedTuple):
    """What later looks need of this one. `fraction` is how far the spending has come, `bound` may be infinite."""

    information: float
    fraction: float
    bound: float
    statistic: float
    p_value: float


class Look(NamedTuple):
    """One look's verdict.

    bound
        On |statistic|; infinite when there is no verdict at this look (`interval.reason` says why).
    spent
        Alpha spent up to now.
    statistic
        On the normal scale: skew-corrected, or the normal quantile of the randomisation test's p-value.
    p_value
        Sequential: the smallest alpha at which this look or one before would have crossed. It never rises.
    crossed, decided
        Whether this look crosses its bound; whether this or an earlier one did.
    overstated
        Decided before the end: the estimate tends to be too large.
    too_few, warning
        Why nobody may conclude yet; why some care is due.
    """

    bound: float
    fraction: float
    spent: float
    information: float
    statistic: float
    p_value: float
    interval: Interval
    relative: Interval
    crossed: bool
    decided: bool
    final: bool
    overstated: bool
    too_few: str | None
    warning: str | None

    def as_past(self) -> PastLook:
        """The numbers to store for the looks to come."""
        return PastLook(self.information, self.fraction, self.bound, self.statistic, self.p_value)


class _Test(NamedTuple):
    statistic: float
    low: float
    high: float
    method: str


def decide(plan: Plan, past: Sequence[PastLook], evidence: Evidence, *, quick: bool = False) -> Look:
    """Decide one look.

    Parameters
    ----------
    plan
        As frozen at the start.
    past
        All looks before, oldest first, also those without a verdict.
    evidence
        The figures of this moment.
    quick
        Only `crossed` and what it rests on: the randomisation test stops early and has no interval, and the p-value
        says no more than on which side of alpha it lies.

    Raises
    ------
    ValueError
        If the plan lacks a planned standard error, or one blast a fraction or fitting correlations.

    >>> from shared.stats.moments import of_successes
    >>> plan = Plan(Design.ONE_BLAST)
    >>> half_way = means.Stratum(of_successes(10_000, 400), of_successes(10_000, 520))
    >>> look = decide(plan, [], Evidence([half_way], Kind.PROPORTION, fraction=0.5))
    >>> round(look.bound, 3), look.crossed, round(look.interval.low, 4), look.overstated
    (2.498, True, 0.0046, True)
    """
    found = means.difference(evidence.strata)
    control = merged(stratum.control for stratum in evidence.strata)
    treatment = merged(stratum.treatment for stratum in evidence.strata)
    too_few = small_sample.too_few(evidence.kind, control, treatment)
    if not found.standard_error > 0:
        too_few = too_few or "no spread in either arm"
    information = 1 / found.standard_error**2 if found.standard_error > 0 else 0.0
    bound, fraction = (inf, _so_far(past)) if too_few else _bound(plan, past, evidence, information)
    test = _tested(plan, evidence, found, bound, quick) if isfinite(bound) else _untested(found)
    crossed = bool(isfinite(bound) and abs(test.statistic) >= bound)
    before = min((look.p_value for look in past), default=1.0)
    here = PastLook(information, fraction, bound, test.statistic, before)
    p_value = min(before, _p_value(plan, past, here, evidence.correlation, quick)) if isfinite(bound) else before
    decided = p_value <= plan.alpha
    reason = too_few or (None if isfinite(bound) else "no alpha to spend since the look before")
    return Look(
        bound=bound,
        fraction=fraction,
        spent=nan
        if plan.design is Design.OPEN_ENROLMENT
        else group_sequential.spent(plan.spending, fraction, plan.alpha),
        information=information,
        statistic=test.statistic,
        p_value=p_value,
        interval=Interval(found.estimate, test.low, test.high, p_value, found.standard_error, test.method, reason),
        relative=means.relative(found, critical=bound) if not reason else unknown(reason, "relative"),
        crossed=crossed,
        decided=decided,
        final=evidence.final,
        overstated=decided and not evidence.final,
        too_few=too_few,
        warning=small_sample.skewness_warning(control, treatment),
    )


def _so_far(past: Sequence[PastLook]) -> float:
    return max((look.fraction for look in past), default=0.0)


def _bound(plan: Plan, past: Sequence[PastLook], evidence: Evidence, information: float) -> tuple[float, float]:
    """This look's bound, and how far the spending has come with it."""
    if plan.design is Design.OPEN_ENROLMENT:
        tau_squared = sequential.mixture_variance(plan.planned_standard_error, plan.alpha)
        return sequential.critical_value(information**-0.5, tau_squared, plan.alpha), 0.0
    fraction = max(_so_far(past), _fraction(plan, evidence, information))
    increment = group_sequential.spent(plan.spending, fraction, plan.alpha) - group_sequential.spent(
        plan.spending, _so_far(past), plan.alpha
    )
    past_bounds = [look.bound for look in past]
    if plan.design is Design.STAGGERED:
        levels = [max(look.information, LEAST_P) for look in past]
        return group_sequential.next_bound([*levels, information], past_bounds, increment), fraction
    return correlated_looks.next_bound(_correlation(past, evidence), past_bounds, increment), fraction


def _fraction(plan: Plan, evidence: Evidence, information: float) -> float:
    """How far the spending may come: all the way at the end, whatever the size became."""
    if evidence.final:
        return 1.0
    if plan.design is Design.STAGGERED:
        planned = plan.planned_standard_error
        if not (isfinite(planned) and planned > 0):
            raise ValueError(f"planned standard error {planned} is not above zero")
        share = evidence.fraction if isfinite(evidence.fraction) else 1.0
        return min(MOST_BEFORE_THE_END, share, information * planned**2)
    if not 0 <= evidence.fraction <= 1:
        raise ValueError(f"fraction {evidence.fraction} of the window is not between 0 and 1")
    return min(MOST_BEFORE_THE_END, evidence.fraction)


def _correlation(past: Sequence[PastLook], evidence: Evidence) -> Array:
    if evidence.correlation is not None:
        return evidence.correlation
    if past:
        raise ValueError("correlations between the looks are missing")
    return np.ones((1, 1))


def _tested(plan: Plan, evidence: Evidence, found: means.Difference, bound: float, quick: bool) -> _Test:
    """The statistic on the normal scale and the interval that goes with the bound."""
    if plan.design is Design.OPEN_ENROLMENT:
        method = sequential.METHOD
    else:
        method = "group sequential"
        if evidence.draw is not None and evidence.kind is Kind.MONEY:
            return _redealt(evidence.draw, evidence.seed, bound, quick)
    low, high = sequential.around(found, bound)
    return _Test(corrected(found.estimate / found.standard_error, found.skewness), low, high, method)


def _redealt(draw: Draw, seed: int, bound: float, quick: bool) -> _Test:
    nominal = 2 * float(ndtr(-bound))
    draws = int(min(MOST_DRAWS, max(randomisation.FEWEST_DRAWS, ceil(EXCEEDANCES / max(nominal, LEAST_P)))))
    found = randomisation.compare(draw, seed=seed, draws=draws, level=nominal, stop_after=STOP_AFTER if quick else None)
    if not isfinite(found.p_value):
        return _Test(0.0, -inf, inf, "randomisation test")
    size = float(-ndtri(min(1.0, found.p_value) / 2))
    return _Test(copysign(size, found.p_lower - found.p_upper), found.low, found.high, "randomisation test")


def _untested(found: means.Difference) -> _Test:
    return _Test(0.0, -inf, inf, "") if isfinite(found.estimate) else _Test(0.0, nan, nan, "")


def _p_value(plan: Plan, past: Sequence[PastLook], here: PastLook, correlation: Array | None, quick: bool) -> float:
    """The smallest alpha at which this look would have crossed; on the same side of the plan's alpha as the verdict."""
    crossed = abs(here.statistic) >= here.bound
    if plan.design is Design.OPEN_ENROLMENT:
        tau_squared = sequential.mixture_variance(plan.planned_standard_error, plan.alpha)
        found = sequential.p_value(here.statistic, here.information**-0.5, tau_squared)
    elif quick:
        found = plan.alpha if crossed else 1.0
    else:
        found = _smallest_alpha(plan, [*past, here], correlation)
    return min(found, plan.alpha) if crossed else max(found, plan.alpha * (1 + 1e-9))


def _smallest_alpha(plan: Plan, seen: Sequence[PastLook], correlation: Array | None) -> float:
    """Replay all bounds at other alphas until the last look's bound equals its statistic."""
    reached = abs(seen[-1].statistic)
    bounds = _replay(plan, seen, correlation)

    def short(log_alpha: float) -> float:
        return bounds(exp(log_alpha))[-1] - reached

    least = log(max(LEAST_P, 2 * float(ndtr(-reached))))
    if least >= log(LARGEST_P) or short(log(LARGEST_P)) > 0:
        return 1.0
    if short(least) <= 0:
        return exp(least)
    return exp(float(brentq(short, least, log(LARGEST_P), xtol=1e-3)))


def _replay(plan: Plan, seen: Sequence[PastLook], correlation: Array | None) -> Callable[[float], tuple[float, ...]]:
    """Bounds of the looks that had one, as a function of alpha."""
    kept = [k for k, look in enumerate(seen) if isfinite(look.bound)]

    def increments(alpha: float) -> list[float]:
        spent = [group_sequential.spent(plan.spending, seen[k].fraction, alpha) for k in kept]
        return [now - before for before, now in zip([0.0, *spent], spent, strict=False)]

    if plan.design is Design.STAGGERED:
        information = [seen[k].information for k in kept]
        return lambda alpha: group_sequential.bounds(information, increments(alpha))
    matrix = np.ones((1, 1)) if correlation is None else correlation[np.ix_(kept, kept)]
    return lambda alpha: correlated_looks.bounds(matrix, increments(alpha))
