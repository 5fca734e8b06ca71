"""Sequential p-values: the smallest level at which what was seen would have been a verdict."""

from collections.abc import Callable
from math import exp, log

from scipy.optimize import brentq
from scipy.special import ndtr

LARGEST = 0.5  # p-values above it are given as 1
LEAST = 1e-12


def smallest_alpha(statistic: float, bound: Callable[[float], float]) -> float:
    """Solve bound(alpha) = statistic for alpha, to a tenth of a per cent of itself.

    Parameters
    ----------
    statistic
        |Z| of the look, on the normal scale.
    bound
        The look's bound as a function of alpha: falling, and nowhere below the normal quantile of alpha.

    Source: Glimm, Maurer & Bretz (2010), Statistics in Medicine 29:219-228.

    >>> from scipy.special import ndtri
    >>> round(smallest_alpha(2.5, lambda alpha: float(-ndtri(alpha / 2))), 4)
    0.0124
    """

    def short(log_alpha: float) -> float:
        return bound(exp(log_alpha)) - statistic

    least, largest = log(max(LEAST, 2 * float(ndtr(-statistic)))), log(LARGEST)
    if least >= largest or short(largest) > 0:
        return 1.0
    if short(least) <= 0:
        return exp(least)
    return exp(float(brentq(short, least, largest, xtol=1e-3)))
