"""Many comparisons: p-values adjusted so that the family's error stays where it was promised.

At looks these take *sequential* p-values, never nominal ones: Glimm, Maurer & Bretz (2010), Statistics in Medicine
29:219-228.
"""

from collections.abc import Callable, Sequence
from math import isnan, nan

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment: controls the chance of any false discovery in the family.

    Tests without a p-value (nan) stay nan and still count as members of the family.

    Source: Holm (1979), Scandinavian Journal of Statistics 6:65-70.

    >>> [round(p, 4) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """

    def adjust(ordered: Array) -> Array:
        return np.maximum.accumulate(ordered * (ordered.size - np.arange(ordered.size)))

    return _adjusted(p_values, adjust)


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Benjamini and Hochberg's step-up adjustment: controls the share of false among all discoveries.

    Source: Benjamini & Hochberg (1995), JRSS B 57:289-300.

    >>> [round(p, 4) for p in benjamini_hochberg([0.01, 0.04, 0.03])]
    [0.03, 0.04, 0.04]
    """

    def adjust(ordered: Array) -> Array:
        scaled = ordered * ordered.size / np.arange(1, ordered.size + 1)
        return np.minimum.accumulate(scaled[::-1])[::-1]

    return _adjusted(p_values, adjust)


def _adjusted(p_values: Sequence[float], adjust: Callable[[Array], Array]) -> list[float]:
    found = np.asarray([1.0 if isnan(p) else p for p in p_values], dtype=np.float64)
    if np.any((found < 0) | (found > 1)):
        raise ValueError("a p-value is not between 0 and 1")
    order = np.argsort(found, kind="stable")
    adjusted = np.empty_like(found)
    adjusted[order] = np.minimum(1.0, adjust(found[order])) if found.size else []
    return [nan if isnan(p) else float(q) for p, q in zip(p_values, adjusted, strict=True)]
