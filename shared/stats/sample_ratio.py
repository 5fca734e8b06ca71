"""Do the arms have the sizes that the design gave them? If not, customers went missing, and no effect is believed."""

from collections.abc import Sequence
from math import exp
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc, gammaln

LEVEL = 0.001
CONCENTRATION = 1_000.0  # customers' worth of belief in the stated weights


class SampleRatio(NamedTuple):
    """Verdict on the sizes: `failed` when the p-value is below `LEVEL`."""

    p_value: float
    statistic: float
    failed: bool


def chi_square(observed: Sequence[int], weights: Sequence[float]) -> SampleRatio:
    """Pearson's test of the arms' sizes against the weights, for one look at a fixed time.

    Parameters
    ----------
    observed, weights
        By arm, in the same order; weights above zero, of any sum.

    Source: Fabijan et al. (2019), KDD, Diagnosing sample ratio mismatch.

    >>> found = chi_square([821_588, 815_482], [0.5, 0.5])
    >>> found.failed, round(found.statistic, 2)
    (True, 22.77)
    """
    return by_regime([(observed, weights)])


def by_regime(regimes: Sequence[tuple[Sequence[int], Sequence[float]]]) -> SampleRatio:
    """The same where weights changed: each regime's sizes against its own weights, added up.

    >>> by_regime([([500, 500], [1, 1]), ([100, 900], [1, 9])]).p_value
    1.0
    """
    statistic, degrees = 0.0, 0
    for observed, weights in regimes:
        counts, shares = _checked(observed, weights)
        if not counts.sum():
            continue
        expected = shares * counts.sum()
        statistic += float(((counts - expected) ** 2 / expected).sum())
        degrees += counts.size - 1
    p_value = float(chdtrc(degrees, statistic)) if degrees else 1.0
    return SampleRatio(p_value, statistic, p_value < LEVEL)


def sequential_p_value(observed: Sequence[int], weights: Sequence[float]) -> float:
    """P-value of the sizes that may be looked at after every assignment.

    While the weights hold, the chance that it is ever below a level is at most that level. It is of the sizes as they
    are: where later assignments make up for a mismatch, it rises again.

    The inverse of the Bayes factor of a Dirichlet-multinomial around the weights against the weights themselves, which
    is a martingale while the weights hold.

    Source: Lindon & Malek (2022), Anytime-valid inference for multinomial count data, NeurIPS.

    >>> sequential_p_value([500, 500], [0.5, 0.5])
    1.0
    >>> sequential_p_value([821_588, 815_482], [0.5, 0.5]) < 0.001
    True
    """
    counts, shares = _checked(observed, weights)
    prior = CONCENTRATION * shares
    factor = gammaln(prior.sum()) - gammaln(prior.sum() + counts.sum())
    factor += float((gammaln(prior + counts) - gammaln(prior) - counts * np.log(shares)).sum())
    return exp(-factor) if factor > 0 else 1.0


def exact_counts(observed: Sequence[int], expected: Sequence[int]) -> bool:
    """Whether an exact split has exactly the sizes it was cut at.

    >>> exact_counts([500, 500], [500, 500]), exact_counts([500, 499], [500, 500])
    (True, False)
    """
    return list(observed) == list(expected)


def _checked(
    observed: Sequence[int], weights: Sequence[float]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    counts, shares = np.asarray(observed, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    if counts.size != shares.size or counts.size < 2 or np.any(counts < 0) or not np.all(shares > 0):
        raise ValueError("sizes and weights do not fit: two arms or more, no negative size, every weight above zero")
    return counts, shares / shares.sum()
