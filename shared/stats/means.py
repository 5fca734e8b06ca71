"""Difference and ratio of two arms' means, plain or by stratum."""

from collections.abc import Sequence
from math import isfinite, nan, sqrt
from typing import NamedTuple

from scipy.special import ndtri, stdtr, stdtrit

from shared.stats.interval import Interval, unknown
from shared.stats.moments import Moments, merged

DELTA_METHOD_FROM = 10.0  # control mean over its standard error
RATIO_FROM = 3.0


class Stratum(NamedTuple):
    """Both arms of one stratum. An experiment without strata is one stratum."""

    control: Moments
    treatment: Moments


class Mean(NamedTuple):
    """Mean of one arm over the strata, weighted by the strata's sizes."""

    estimate: float
    standard_error: float


class Difference(NamedTuple):
    """Treatment minus control. `skewness` is that of the estimate, not of a customer; `degrees` are Satterthwaite's."""

    estimate: float
    standard_error: float
    skewness: float
    degrees: float
    control: Mean
    treatment: Mean


class _Part(NamedTuple):
    """What one arm of one stratum adds to the difference: variance, third cumulant, degrees of freedom."""

    mean: float
    variance: float
    third: float
    degrees: int


def difference(strata: Sequence[Stratum]) -> Difference:
    """Treatment minus control, each stratum weighted by its share of all customers.

    Parameters
    ----------
    strata
        At least one. Strata with fewer than two customers in an arm are pooled with each other, and with the largest
        stratum if that is not enough, so that every variance can be estimated.

    Returns
    -------
    Difference
        All nan when an arm has fewer than two customers in all.

    Source
    ------
    Variance sum of (N_s / N)^2 (s^2_ts / n_ts + s^2_cs / n_cs); Welch's formula on pooled strata overstates it: Bugni,
    Canay & Shaikh (2018), JASA 113:1784-1796. With one stratum it is Welch's.

    >>> d = difference([Stratum(Moments(10, 1.0, 2.0, 0.0, 10), Moments(20, 1.5, 3.0, 0.0, 20))])
    >>> round(d.estimate, 4), round(d.standard_error, 4)
    (0.5, 0.5916)
    """
    usable = _pooled(strata)
    if not usable:
        empty = Mean(nan, nan)
        return Difference(nan, nan, nan, nan, empty, empty)
    total = sum(stratum.control.n + stratum.treatment.n for stratum in usable)
    weights = [(stratum.control.n + stratum.treatment.n) / total for stratum in usable]
    control = [_part(weight, stratum.control) for weight, stratum in zip(weights, usable, strict=True)]
    treatment = [_part(weight, stratum.treatment) for weight, stratum in zip(weights, usable, strict=True)]
    variance = sum(part.variance for part in control + treatment)
    third = sum(part.third for part in treatment) - sum(part.third for part in control)
    spread = sum(part.variance**2 / part.degrees for part in control + treatment)
    c, t = _mean(control), _mean(treatment)
    return Difference(
        t.estimate - c.estimate,
        sqrt(variance),
        third / variance**1.5 if variance > 0 else nan,
        variance**2 / spread if spread > 0 else nan,
        c,
        t,
    )


def standard_error(variance: float, control_size: int, treatment_size: int) -> float:
    """Standard error of the difference when both arms have this variance: what a design freezes at its start.

    >>> round(standard_error(0.01, 500, 500), 6)
    0.006325
    """
    if control_size < 1 or treatment_size < 1 or not variance >= 0:
        raise ValueError(f"variance {variance} with {control_size} and {treatment_size} customers")
    return sqrt(variance / control_size + variance / treatment_size)


def fixed(found: Difference, *, level: float, method: str) -> Interval:
    """The t-interval around a difference, for one look at a time fixed beforehand.

    Of one stratum it is Welch's (1947, Biometrika 34:28-35); of several, that of an exact split within them.

    >>> plain = difference([Stratum(Moments(10, 1.0, 2.0, 0.0, 10), Moments(20, 1.5, 3.0, 0.0, 20))])
    >>> found = fixed(plain, level=0.95, method="Welch")
    >>> round(found.low, 4), round(found.high, 4), round(found.p_value, 4)
    (-0.7277, 1.7277, 0.4072)
    >>> halves = [Stratum(Moments(50, 0.0, 1.0, 0.0, 50), Moments(50, 0.1, 1.0, 0.0, 50)),
    ...           Stratum(Moments(50, 9.0, 1.0, 0.0, 50), Moments(50, 9.1, 1.0, 0.0, 50))]
    >>> round(fixed(difference(halves), level=0.95, method="stratified").standard_error, 4)
    0.1414
    """
    if not 0 < level < 1:
        raise ValueError(f"level {level} is not between 0 and 1")
    if not isfinite(found.estimate):
        return unknown("an arm has fewer than two customers", method)
    if not found.standard_error > 0:
        return unknown("no spread in either arm", method, found.estimate)
    half = float(stdtrit(found.degrees, 0.5 + level / 2)) * found.standard_error
    p_value = 2 * float(stdtr(found.degrees, -abs(found.estimate) / found.standard_error))
    return Interval(found.estimate, found.estimate - half, found.estimate + half, p_value, found.standard_error, method)


def relative(found: Difference, *, critical: float | None = None, level: float = 0.95) -> Interval:
    """Treatment over control, minus one: 0.05 is five per cent more.

    Parameters
    ----------
    found
        The difference, which carries both means.
    critical
        Standard errors to either side: the bound of a look. Default: the normal quantile of `level`.

    Returns
    -------
    Interval
        Delta method where the control's mean is at least ten of its standard errors, Fieller's set between three and
        ten, nan with the reason below three, or where Fieller's set has no end. The p-value is nan: "no effect" is
        tested on the difference.

    Source
    ------
    Var = s_t^2 / (n_t m_c^2) + m_t^2 s_c^2 / (n_c m_c^4); Fieller (1954), JRSS B 16:175-185.

    >>> found = relative(Difference(0.5, 0.05, 0.0, 99.0, Mean(5.0, 0.04), Mean(5.5, 0.03)))
    >>> found.method, round(found.estimate, 4), round(found.low, 4), round(found.high, 4)
    ('delta method', 0.1, 0.0791, 0.1209)
    """
    width = float(ndtri(0.5 + level / 2)) if critical is None else critical
    control, treatment = found.control, found.treatment
    if not isfinite(found.estimate) or not control.estimate > 0:
        return unknown("the control's mean is not above zero", "relative")
    precision = control.estimate / control.standard_error if control.standard_error > 0 else float("inf")
    if precision < RATIO_FROM:
        return unknown("the control's mean is less than three of its standard errors from zero", "relative")
    ratio = treatment.estimate / control.estimate
    error = sqrt(treatment.standard_error**2 + (ratio * control.standard_error) ** 2) / control.estimate
    if precision >= DELTA_METHOD_FROM:
        return Interval(ratio - 1, ratio - 1 - width * error, ratio - 1 + width * error, nan, error, "delta method")
    if precision <= width:
        return unknown("Fieller's set is unbounded: the control's mean is too uncertain", "Fieller", ratio - 1)
    low, high = _fieller(control, treatment, width)
    return Interval(ratio - 1, low - 1, high - 1, nan, error, "Fieller")


def _fieller(control: Mean, treatment: Mean, width: float) -> tuple[float, float]:
    """Ratios rho with (m_t - rho m_c)^2 <= width^2 (v_t + rho^2 v_c)."""
    a = control.estimate**2 - (width * control.standard_error) ** 2
    b = control.estimate * treatment.estimate
    c = treatment.estimate**2 - (width * treatment.standard_error) ** 2
    root = sqrt(max(0.0, b * b - a * c))
    return (b - root) / a, (b + root) / a


def _pooled(strata: Sequence[Stratum]) -> list[Stratum]:
    """Strata in which each arm has at least two customers, without losing anybody."""
    large = [stratum for stratum in strata if min(stratum.control.n, stratum.treatment.n) > 1]
    small = [stratum for stratum in strata if min(stratum.control.n, stratum.treatment.n) <= 1]
    rest = Stratum(merged(s.control for s in small), merged(s.treatment for s in small)) if small else None
    if rest is None or max(rest.control.n, rest.treatment.n) == 0:
        return large
    if min(rest.control.n, rest.treatment.n) > 1:
        return [*large, rest]
    if not large:
        return []
    biggest = max(large, key=lambda stratum: stratum.control.n + stratum.treatment.n)
    large[large.index(biggest)] = Stratum(
        merged([biggest.control, rest.control]), merged([biggest.treatment, rest.treatment])
    )
    return large


def _part(weight: float, arm: Moments) -> _Part:
    return _Part(weight * arm.mean, weight**2 * arm.variance / arm.n, weight**3 * arm.third / arm.n**2, arm.n - 1)


def _mean(parts: Sequence[_Part]) -> Mean:
    return Mean(sum(part.mean for part in parts), sqrt(sum(part.variance for part in parts)))
