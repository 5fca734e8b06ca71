"""Yes-or-no outcomes: intervals that stay inside [0, 1] and behave for small counts."""

from math import nan, sqrt
from typing import NamedTuple

from scipy.special import betaincinv, ndtr, ndtri

from shared.stats.interval import Interval, unknown


class Counts(NamedTuple):
    """`successes` of `n` customers said yes."""

    n: int
    successes: int


def wilson(counts: Counts, *, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval for one proportion; nan for nobody.

    Source: Wilson (1927), JASA 22:209-212. Newcombe's example, 81 of 263:

    >>> low, high = wilson(Counts(263, 81))
    >>> round(low, 4), round(high, 4)
    (0.2553, 0.3662)
    """
    _check(counts, level)
    if not counts.n:
        return nan, nan
    z = float(ndtri(0.5 + level / 2))
    n, p = counts.n, counts.successes / counts.n
    centre, half = p + z * z / (2 * n), z * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def clopper_pearson(counts: Counts, *, level: float = 0.95) -> tuple[float, float]:
    """The exact interval for one proportion: covers at least `level`, whatever the truth.

    Source: Clopper & Pearson (1934), Biometrika 26:404-413. Newcombe's example, 81 of 263:

    >>> low, high = clopper_pearson(Counts(263, 81))
    >>> round(low, 4), round(high, 4)
    (0.2527, 0.3676)
    """
    _check(counts, level)
    n, k, tail = counts.n, counts.successes, (1 - level) / 2
    if not n:
        return nan, nan
    low = float(betaincinv(k, n - k + 1, tail)) if k else 0.0
    high = float(betaincinv(k + 1, n - k, 1 - tail)) if k < n else 1.0
    return low, high


def difference(control: Counts, treatment: Counts, *, level: float = 0.95) -> Interval:
    """Compare two independent proportions at the planned end.

    Returns
    -------
    Interval
        Newcombe's hybrid score, which stays inside [-1, 1]; p from the two-sided pooled z-test. Nan when an arm has no
        customers. The standard error is the unpooled one.

    Raises
    ------
    ValueError
        If `level` is not inside (0, 1), or an arm has more successes than customers.

    Source
    ------
    Newcombe (1998), Statistics in Medicine 17:873-890, method 10. His example (a), 56/70 against 48/80:

    >>> d = difference(Counts(80, 48), Counts(70, 56))
    >>> round(d.low, 4), round(d.high, 4)
    (0.0524, 0.3339)
    """
    _check(control, level)
    _check(treatment, level)
    method = "Newcombe"
    if not control.n or not treatment.n:
        return unknown("an arm has no customers", method)
    p, q = treatment.successes / treatment.n, control.successes / control.n
    p_low, p_high = wilson(treatment, level=level)
    q_low, q_high = wilson(control, level=level)
    low = p - q - sqrt((p - p_low) ** 2 + (q_high - q) ** 2)
    high = p - q + sqrt((p_high - p) ** 2 + (q - q_low) ** 2)
    error = sqrt(p * (1 - p) / treatment.n + q * (1 - q) / control.n)
    return Interval(p - q, low, high, _pooled_p_value(control, treatment), error, method)


def _pooled_p_value(control: Counts, treatment: Counts) -> float:
    n = control.n + treatment.n
    pooled = (control.successes + treatment.successes) / n
    error = sqrt(pooled * (1 - pooled) * (1 / control.n + 1 / treatment.n))
    gap = abs(treatment.successes / treatment.n - control.successes / control.n)
    return 2 * float(ndtr(-gap / error)) if error > 0 else 1.0


def _check(counts: Counts, level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level {level} is not between 0 and 1")
    if not 0 <= counts.successes <= counts.n:
        raise ValueError(f"{counts.successes} successes of {counts.n} customers")
