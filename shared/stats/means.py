"""Difference of two arms' means, plain or by stratum."""

from collections.abc import Sequence
from math import isfinite, nan, sqrt
from typing import NamedTuple

from scipy.special import stdtr, stdtrit

from shared.stats.interval import Interval, unknown
from shared.stats.moments import Moments, merged


class Stratum(NamedTuple):
    """Both arms of one stratum. An experiment without strata is one stratum."""

    control: Moments
    treatment: Moments


class Mean(NamedTuple):
    """Mean of one arm over the strata, weighted by the strata's sizes; `third` is the third cumulant of that."""

    estimate: float
    standard_error: float
    third: float = nan


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
    spread = sum(part.variance**2 / part.degrees for part in control + treatment)
    c, t = _mean(control), _mean(treatment)
    return Difference(
        t.estimate - c.estimate,
        sqrt(variance),
        (t.third - c.third) / variance**1.5 if variance > 0 else nan,
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
    variance = sum(part.variance for part in parts)
    return Mean(sum(part.mean for part in parts), sqrt(variance), sum(part.third for part in parts))
