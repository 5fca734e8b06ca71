"""What is kept of one arm's values: enough for every mean, its error and its skewness, and it can be added up."""

from collections.abc import Iterable
from math import isclose, nan
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


class Moments(NamedTuple):
    """Values of `n` customers, one value each, those without a response counted as zero.

    `variance` has the denominator n - 1; `third` is the third central moment, the mean of (y - mean)^3, nan where it
    is not known; `responders` have a value other than zero. Mean is nan for nobody, variance for fewer than two.
    """

    n: int
    mean: float
    variance: float
    third: float
    responders: int

    @property
    def skewness(self) -> float:
        """Third standardised moment, nan where there is no spread."""
        if not self.n or not self.variance > 0:
            return nan
        return float(self.third / (self.variance * (self.n - 1) / self.n) ** 1.5)


EMPTY = Moments(0, nan, nan, nan, 0)


class _Sums(NamedTuple):
    """n, mean, sum of squared and of cubed deviations."""

    n: int
    mean: float
    squares: float
    cubes: float


def of_values(values: npt.ArrayLike, n: int | None = None) -> Moments:
    """Moments of an array of values, together with the zeros of the customers who have no row.

    Parameters
    ----------
    values
        One value per customer, shape (k,).
    n
        Customers in the arm, at least k; the other n - k count as zero. Default: k.

    Raises
    ------
    ValueError
        If there are more values than customers.

    >>> of_values([2.0, 4.0], n=4)
    Moments(n=4, mean=1.5, variance=3.6666666666666665, third=2.25, responders=2)
    """
    found = np.asarray(values, dtype=np.float64)
    size = found.size if n is None else n
    if size < found.size:
        raise ValueError(f"{found.size} values for {size} customers")
    if not found.size:
        return of_successes(size, 0) if size else EMPTY
    centred = found - found.mean()
    sums = _Sums(found.size, float(found.mean()), float(centred @ centred), float(centred**2 @ centred))
    zeros = _Sums(size - found.size, 0.0, 0.0, 0.0)
    return _moments(_added(sums, zeros), int(np.count_nonzero(found)))


def of_successes(n: int, successes: int) -> Moments:
    """Moments of a yes-or-no outcome: `successes` of `n` customers said yes.

    >>> of_successes(4, 1)
    Moments(n=4, mean=0.25, variance=0.25, third=0.09375, responders=1)
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n} customers")
    if not n:
        return EMPTY
    p = float(successes) / int(n)
    variance = n * p * (1 - p) / (n - 1) if n > 1 else nan
    return Moments(int(n), p, variance, p * (1 - p) * (1 - 2 * p), int(successes))


def with_zeros(n: int, responders: int, mean: float, variance: float, mean_cube: float = nan) -> Moments:
    """Moments of an arm from what SQL says of its non-zero customers.

    Parameters
    ----------
    n
        Customers in the arm.
    responders
        Customers with a value other than zero, at most n.
    mean, variance, mean_cube
        `avg(y)`, `var_samp(y)` (may be nan for one responder) and `avg(y^3)` over the responders.

    >>> with_zeros(4, 2, 3.0, 2.0, 36.0) == of_values([2.0, 4.0], n=4)
    True
    """
    if not 0 <= responders <= n:
        raise ValueError(f"{responders} responders of {n} customers")
    if not responders:
        return of_successes(n, 0) if n else EMPTY
    squares = variance * (responders - 1) if responders > 1 else 0.0
    cubes = responders * (mean_cube - mean**3) - 3 * mean * squares
    return _moments(_added(_Sums(responders, mean, squares, cubes), _Sums(n - responders, 0.0, 0.0, 0.0)), responders)


def merged(groups: Iterable[Moments]) -> Moments:
    """Pool groups of customers into one, as if their values had been seen together.

    Source: Chan, Golub & LeVeque (1979); Pébay (2008) for the third moment.

    >>> merged([of_successes(2, 1), of_successes(6, 3)]) == of_successes(8, 4)
    True
    """
    total, responders = _Sums(0, 0.0, 0.0, 0.0), 0
    for group in groups:
        total, responders = _added(total, _sums(group)), responders + group.responders
    return _moments(total, responders)


def shifted(found: Moments, by: float) -> Moments:
    """Add a known amount to every customer's value, such as the cost of contacting them.

    Responders stay those who responded.

    >>> shifted(of_values([2.0, 4.0], n=4), -0.5).mean
    1.0
    """
    return found._replace(mean=found.mean + by)


def _sums(found: Moments) -> _Sums:
    if not found.n:
        return _Sums(0, 0.0, 0.0, 0.0)
    return _Sums(found.n, found.mean, found.variance * (found.n - 1) if found.n > 1 else 0.0, found.third * found.n)


def _added(a: _Sums, b: _Sums) -> _Sums:
    if not a.n or not b.n:
        return a if a.n else b
    n, delta = a.n + b.n, b.mean - a.mean
    squares = a.squares + b.squares + delta**2 * a.n * b.n / n
    cubes = a.cubes + b.cubes + delta**3 * a.n * b.n * (a.n - b.n) / n**2
    cubes += 3 * delta * (a.n * b.squares - b.n * a.squares) / n
    return _Sums(n, (a.n * a.mean + b.n * b.mean) / n, squares, cubes)


def _moments(sums: _Sums, responders: int) -> Moments:
    n, mean, squares, cubes = sums
    if not n:
        return EMPTY
    if isclose(squares, 0.0, abs_tol=1e-30):
        squares, cubes = 0.0, 0.0 * cubes
    return Moments(n, mean, squares / (n - 1) if n > 1 else nan, cubes / n, responders)
