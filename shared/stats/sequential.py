"""Confidence sequence in intrinsic time: an interval that holds at every look at once, however many there are.

With r = tau^2 / se^2 the normal mixture gives the half-width se * sqrt((1 + 1/r) * ln((1 + r) / alpha^2)).

Source: Robbins (1970), Annals of Mathematical Statistics 41:1397-1409; asymptotically, with estimated variances,
Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas (2024), Annals of Statistics 52:2613-2640.
"""

from math import exp, inf, isfinite, log, sqrt

from shared.stats.means import Difference
from shared.stats.skew_correction import limits

METHOD = "confidence sequence"


def planned_ratio(alpha: float) -> float:
    """The r = tau^2 / se^2 at which the sequence is tightest, near enough: r* = -2 ln alpha + ln(1 - 2 ln alpha).

    >>> round(planned_ratio(0.05), 3)
    7.936
    """
    _check(alpha)
    return -2 * log(alpha) + log(1 - 2 * log(alpha))


def mixture_variance(planned_standard_error: float, alpha: float) -> float:
    """Tau squared, to be frozen at the start: makes the sequence tightest when the planned size is reached.

    Parameters
    ----------
    planned_standard_error
        Of the difference at the planned size, from the planned variance; above zero, in the metric's unit.

    Raises
    ------
    ValueError
        If the planned standard error is not a number above zero.

    >>> round(mixture_variance(0.01, 0.05), 6)
    0.000794
    """
    if not (isfinite(planned_standard_error) and planned_standard_error > 0):
        raise ValueError(f"planned standard error {planned_standard_error} is not above zero")
    return planned_ratio(alpha) * planned_standard_error**2


def critical_value(standard_error: float, tau_squared: float, alpha: float) -> float:
    """Standard errors to either side of the estimate; infinite while the standard error is.

    >>> round(critical_value(0.01, mixture_variance(0.01, 0.05), 0.05), 4)
    3.0352
    """
    _check(alpha)
    if not standard_error > 0:
        return inf
    ratio = tau_squared / standard_error**2
    return sqrt((1 + 1 / ratio) * log((1 + ratio) / alpha**2)) if ratio > 0 else inf


def p_value(z: float, standard_error: float, tau_squared: float) -> float:
    """P-value that may be looked at any time: min(1, sqrt(1 + r) exp(-z^2 r / (2 (1 + r)))).

    It is at most alpha exactly when |z| is at least `critical_value`. Keep the smallest of the looks.

    >>> round(p_value(3.0352, 0.01, mixture_variance(0.01, 0.05)), 4)
    0.05
    """
    ratio = tau_squared / standard_error**2
    return min(1.0, sqrt(1 + ratio) * exp(-z * z * ratio / (2 * (1 + ratio))))


def around(found: Difference, bound: float) -> tuple[float, float]:
    """The effects whose skew-corrected statistic stays within `bound`; all of them while the bound is infinite.

    >>> from shared.stats.means import Mean
    >>> seen = Difference(0.04, 0.01, 0.0, 999.0, Mean(0.1, 0.007), Mean(0.14, 0.007))
    >>> low, high = around(seen, critical_value(0.01, mixture_variance(0.01, 0.05), 0.05))
    >>> round(low, 4), round(high, 4)
    (0.0096, 0.0704)
    """
    low, high = limits(bound, found.skewness)
    return found.estimate - found.standard_error * high, found.estimate - found.standard_error * low


def _check(alpha: float) -> None:
    if not 0 < alpha < 1:
        raise ValueError(f"alpha {alpha} is not between 0 and 1")
