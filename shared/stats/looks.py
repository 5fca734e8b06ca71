"""The rule that turns looks into a verdict. Services and simulations call this same function.

What may be looked at, and how often, follows from how customers enter: see `Design`. Each look is decided once, from
the figures of that moment and a few numbers kept of the looks before; late data never redraw a past bound.
"""

from collections.abc import Sequence
from functools import partial
from math import ceil, copysign, inf, isfinite, nan
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri

from shared.stats import correlated_looks, group_sequential, means, randomisation, ratio, sequential, small_sample
from shared.stats.designs import Array, Design, Evidence, Look, PastLook, Plan, Redealt
from shared.stats.interval import Interval, unknown
from shared.stats.moments import Moments, merged
from shared.stats.randomisation import Draw
from shared.stats.skew_correction import corrected, limits
from shared.stats.small_sample import Kind
from shared.stats.smallest_alpha import smallest_alpha

__all__ = ["Design", "Evidence", "Kind", "Look", "PastLook", "Plan", "decide"]

MOST_BEFORE_THE_END = 0.95  # however much there is: the last look keeps something to spend
EXCEEDANCES = 20  # re-deals expected beyond the bound
MOST_DRAWS = 50_000
STOP_AFTER = 10
REDEALT = "randomisation test"


class _Figures(NamedTuple):
    """A look's evidence, added up."""

    found: means.Difference
    control: Moments
    treatment: Moments
    too_few: str | None
    clock: float


class _Test(NamedTuple):
    """The statistic on the normal scale, and the intervals that go with the bound."""

    statistic: float
    low: float
    high: float
    method: str
    redealt: Redealt | None = None

    def quantiles(self, found: means.Difference, bound: float) -> ratio.Quantiles:
        """What the statistic is held against; of the corrected one it depends on the skewness of what is tested."""
        return ratio.behind(found, self.low, self.high) if self.method == REDEALT else partial(limits, bound)


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
    figures = _figures(evidence)
    bound, fraction = (inf, _so_far(past)) if figures.too_few else _bound(plan, past, evidence, figures)
    test = _tested(plan, evidence, figures.found, bound, quick)
    before = min((look.p_value for look in past), default=1.0)
    here = PastLook(figures.clock, fraction, bound, test.statistic, before)
    if isfinite(bound):
        p_value = _p_value(plan, [*past, here], figures.found.standard_error, evidence.correlation, quick)
        here = here._replace(p_value=min(before, p_value))
    return _look(plan, evidence, figures, test, here)


def _figures(evidence: Evidence) -> _Figures:
    found = means.difference(evidence.strata)
    control = merged(stratum.control for stratum in evidence.strata)
    treatment = merged(stratum.treatment for stratum in evidence.strata)
    too_few = small_sample.too_few(evidence.kind, control, treatment)
    if not found.standard_error > 0:
        too_few = too_few or "no spread in either arm"
    return _Figures(found, control, treatment, too_few, ((control.n + treatment.n) * found.standard_error) ** 2)


def _look(plan: Plan, evidence: Evidence, figures: _Figures, test: _Test, here: PastLook) -> Look:
    """Put the verdict together."""
    open_ended = plan.design is Design.OPEN_ENROLMENT
    decided = here.p_value <= plan.alpha
    reason = figures.too_few or (None if isfinite(here.bound) else "no alpha to spend since the look before")
    found = figures.found
    return Look(
        bound=here.bound,
        fraction=here.fraction,
        spent=nan if open_ended else group_sequential.spent(plan.spending, here.fraction, plan.alpha),
        clock=here.clock,
        statistic=here.statistic,
        p_value=here.p_value,
        interval=Interval(found.estimate, test.low, test.high, here.p_value, found.standard_error, test.method, reason),
        relative=unknown(reason, "relative") if reason else ratio.relative(found, test.quantiles(found, here.bound)),
        crossed=isfinite(here.bound) and abs(here.statistic) >= here.bound,
        decided=decided,
        final=evidence.final,
        overstated=decided and (evidence.early or not evidence.final),
        too_few=figures.too_few,
        warning=small_sample.skewness_warning(figures.control, figures.treatment),
        redealt=test.redealt,
    )


def _so_far(past: Sequence[PastLook]) -> float:
    return max((look.fraction for look in past), default=0.0)


def _bound(plan: Plan, past: Sequence[PastLook], evidence: Evidence, figures: _Figures) -> tuple[float, float]:
    """This look's bound, and how far the spending has come with it."""
    standard_error = figures.found.standard_error
    if plan.design is Design.OPEN_ENROLMENT:
        tau_squared = sequential.mixture_variance(plan.planned_standard_error, plan.alpha)
        return sequential.critical_value(standard_error, tau_squared, plan.alpha), 0.0
    so_far = _so_far(past)
    fraction = max(so_far, _fraction(plan, evidence, standard_error))
    increment = group_sequential.spent(plan.spending, fraction, plan.alpha)
    increment -= group_sequential.spent(plan.spending, so_far, plan.alpha)
    past_bounds = [look.bound for look in past]
    if plan.design is Design.STAGGERED:
        clocks = [look.clock if isfinite(look.bound) else figures.clock for look in past]
        return group_sequential.next_bound([*clocks, figures.clock], past_bounds, increment), fraction
    return correlated_looks.next_bound(_correlation(past, evidence), past_bounds, increment), fraction


def _fraction(plan: Plan, evidence: Evidence, standard_error: float) -> float:
    """How far the spending may come: all the way at the end, whatever the size became."""
    if evidence.final:
        return 1.0
    if plan.design is Design.STAGGERED:
        planned = plan.planned_standard_error
        if not (isfinite(planned) and planned > 0):
            raise ValueError(f"planned standard error {planned} is not above zero")
        share = evidence.fraction if isfinite(evidence.fraction) else 1.0
        return min(MOST_BEFORE_THE_END, share, (planned / standard_error) ** 2)
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
    if not isfinite(bound):
        return _Test(0.0, -inf, inf, "") if isfinite(found.estimate) else _Test(0.0, nan, nan, "")
    open_ended = plan.design is Design.OPEN_ENROLMENT
    if evidence.draw is not None and evidence.kind is Kind.MONEY and not open_ended:
        return _redealt(evidence.draw, evidence.seed, bound, quick)
    low, high = sequential.around(found, bound)
    statistic = corrected(found.estimate / found.standard_error, found.skewness)
    return _Test(statistic, low, high, sequential.METHOD if open_ended else "group sequential")


def _redealt(draw: Draw, seed: int, bound: float, quick: bool) -> _Test:
    nominal = 2 * float(ndtr(-bound))
    draws = max(randomisation.FEWEST_DRAWS, ceil(min(MOST_DRAWS, EXCEEDANCES / max(nominal, 1e-12))))
    found = randomisation.compare(draw, seed=seed, draws=draws, level=nominal, stop_after=STOP_AFTER if quick else None)
    if not isfinite(found.p_value):
        return _Test(0.0, -inf, inf, REDEALT)
    size = float(-ndtri(min(1.0, found.p_value) / 2))
    statistic, redealt = copysign(size, found.p_lower - found.p_upper), Redealt(found.p_value, found.draws)
    return _Test(statistic, found.low, found.high, REDEALT, redealt)


def _p_value(
    plan: Plan, seen: Sequence[PastLook], standard_error: float, correlation: Array | None, quick: bool
) -> float:
    """The smallest alpha at which the last look would have crossed, on the same side of the plan's as the verdict."""
    here = seen[-1]
    crossed = abs(here.statistic) >= here.bound
    if plan.design is Design.OPEN_ENROLMENT:
        tau_squared = sequential.mixture_variance(plan.planned_standard_error, plan.alpha)
        found = sequential.p_value(here.statistic, standard_error, tau_squared)
    elif quick:
        found = plan.alpha if crossed else 1.0
    else:
        found = smallest_alpha(abs(here.statistic), lambda alpha: _replayed(plan, seen, correlation, alpha))
    return min(found, plan.alpha) if crossed else max(found, plan.alpha * (1 + 1e-9))


def _replayed(plan: Plan, seen: Sequence[PastLook], correlation: Array | None, alpha: float) -> float:
    """The bound that the last look would have had if alpha had been this from the start."""
    kept = [k for k, look in enumerate(seen) if isfinite(look.bound)]
    spent = [group_sequential.spent(plan.spending, seen[k].fraction, alpha) for k in kept]
    increments = [now - before for before, now in zip([0.0, *spent], spent, strict=False)]
    if plan.design is Design.STAGGERED:
        return group_sequential.bounds([seen[k].clock for k in kept], increments)[-1]
    matrix = np.ones((1, 1)) if correlation is None else correlation[np.ix_(kept, kept)]
    return correlated_looks.bounds(matrix, increments)[-1]
