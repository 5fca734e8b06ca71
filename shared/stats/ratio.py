"""The relative effect: which ratios of the two means does the test of the difference not reject?

A ratio rho is tested as the difference of the treatment's mean and rho times the control's, studentised, against the
same quantiles that the difference itself is tested against. At rho = 1 the two are one test, so the relative interval
excludes "no effect" exactly when the absolute one does; at rho = 1 - margin it tests "not worse than the margin".
"""

from collections.abc import Callable
from math import copysign, inf, isfinite, nan, sqrt

from shared.stats.interval import Interval, unknown
from shared.stats.means import Difference

Quantiles = Callable[[float], tuple[float, float]]
"""Between which values a studentised statistic is not rejected, by the skewness of its estimate."""

METHOD = "Fieller"
RATIO_FROM = 3.0  # control mean over its standard error
DOUBLINGS = 60  # of the step: as good as without end
HALVINGS = 200  # more than a float has digits; fewer suffice but near zero


def behind(found: Difference, low: float, high: float) -> Quantiles:
    """The quantiles that an interval around the difference was made with, such as Student's or those of re-deals.

    They hold for every ratio: where contact multiplies what customers do, the statistic of the true ratio has the law
    that the difference has without effect, because studentising takes the scale out.

    >>> from shared.stats.means import Mean
    >>> behind(Difference(0.5, 0.25, 0.0, 99.0, Mean(5.0, 0.15), Mean(5.5, 0.2)), 0.0, 1.5)(0.0)
    (-4.0, 2.0)
    """
    error = found.standard_error
    quantiles = ((found.estimate - high) / error, (found.estimate - low) / error) if error > 0 else (nan, nan)
    return lambda _: quantiles


def relative(found: Difference, quantiles: Quantiles) -> Interval:
    """Treatment over control, minus one: 0.05 is five per cent more.

    Parameters
    ----------
    found
        The difference, which carries both means.
    quantiles
        Those of the test of the difference.

    Returns
    -------
    Interval
        The ratios next to the estimate that are not rejected; nan with the reason where the control's mean is less than
        three of its standard errors above zero, or where they have no end. The standard error is that of the delta
        method, the p-value nan: "no effect" is tested on the difference.

    Source
    ------
    Fieller (1954), JRSS B 16:175-185, with quantiles of normal, re-dealt or skewness-corrected statistics.

    >>> from shared.stats.means import Mean
    >>> difference = Difference(0.5, 0.05, 0.0, 99.0, Mean(5.0, 0.04), Mean(5.5, 0.03))
    >>> answer = relative(difference, lambda skewness: (-1.96, 1.96))
    >>> round(answer.estimate, 4), round(answer.low, 4), round(answer.high, 4)
    (0.1, 0.0794, 0.1212)
    """
    control, treatment = found.control, found.treatment
    if not isfinite(found.estimate) or not control.estimate > 0:
        return unknown("the control's mean is not above zero", "relative")
    if control.estimate < RATIO_FROM * control.standard_error:
        return unknown("the control's mean is less than three of its standard errors from zero", "relative")
    ratio = treatment.estimate / control.estimate
    if not found.standard_error > 0:
        return unknown("no spread in either arm", METHOD, ratio - 1)
    error = sqrt(treatment.standard_error**2 + (ratio * control.standard_error) ** 2) / control.estimate

    def kept(rho: float) -> bool:
        statistic, skewness = _tested(found, rho)
        low, high = quantiles(skewness)
        return low < statistic < high

    if not kept(ratio):
        return unknown("the difference has no interval", METHOD, ratio - 1)
    step = found.standard_error / control.estimate
    low, high = _end(kept, ratio, -step), _end(kept, ratio, step)
    if not (isfinite(low) and isfinite(high)):
        bounded = all(isfinite(quantile) for quantile in quantiles(found.skewness))
        why = "the control's mean is too uncertain" if bounded else "so is the difference"
        return unknown(f"unbounded: {why}", METHOD, ratio - 1)
    return Interval(ratio - 1, low - 1, high - 1, nan, error, METHOD)


def _tested(found: Difference, rho: float) -> tuple[float, float]:
    """Studentised m_t - rho m_c, and the skewness of that estimate; both those of the difference at rho = 1."""
    control, treatment = found.control, found.treatment
    gap = treatment.estimate - rho * control.estimate
    error = sqrt(treatment.standard_error**2 + (rho * control.standard_error) ** 2)
    if not error > 0:
        return (copysign(inf, gap) if gap else 0.0), nan
    return gap / error, (treatment.third - rho**3 * control.third) / error**3


def _end(kept: Callable[[float], bool], estimate: float, step: float) -> float:
    """The last ratio that is kept in the direction of `step`; infinite where none is rejected.

    The search starts on the right side of rho = 1, so that rounding and odd shapes cannot contradict the difference.
    """
    inside, outside = estimate, estimate + step
    if (1 - estimate) * step > 0:
        inside, outside = (1.0, 1.0 + step) if kept(1.0) else (estimate, 1.0)
    for _ in range(DOUBLINGS):
        if not kept(outside):
            break
        inside, step = outside, 2 * step
        outside = inside + step
    else:
        return copysign(inf, step)
    for _ in range(HALVINGS):
        middle = (inside + outside) / 2
        if middle in (inside, outside):
            break
        inside, outside = (middle, outside) if kept(middle) else (inside, middle)
    return inside
