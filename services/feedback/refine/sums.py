"""Weighted sums of cells and what follows from them: means by arm, net effects, standard errors.

Everything is an array whose last two axes are (arm, figure), so that one call serves a leaf or all pairs of splits.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.feedback.refine.cells import Cells

Floats = NDArray[np.float64]

# The figures kept for each arm, w being 1 / probability: n, responders, Σw, Σw·y, Σw², Σw²·y, Σw²·y².
FIGURES = 7
_CUSTOMERS, _RESPONDERS, _W, _WY, _W2, _W2Y, _W2YY = range(FIGURES)


def figures(cells: Cells, arms: int, sign: float) -> Floats:
    """Array (cells, arms, 7); `sign` is -1 where less is better, so that more is better from here on."""
    weight = 1 / cells.probability
    table = np.zeros((len(cells.arm), arms, FIGURES))
    table[np.arange(len(cells.arm)), cells.arm] = np.stack(
        [
            cells.customers,
            cells.responders,
            weight * cells.customers,
            weight * sign * cells.total,
            weight**2 * cells.customers,
            weight**2 * sign * cells.total,
            weight**2 * cells.squares,
        ],
        axis=1,
    )
    return table


def customers(sums: Floats) -> Floats:
    """Customers over all arms."""
    return np.asarray(sums[..., _CUSTOMERS].sum(axis=-1))


def responders(sums: Floats, treatments: Sequence[int], control: int) -> Floats:
    """Responders on the side of the comparison that has fewer: the treatments together, or the control."""
    treated = sums[..., list(treatments), _RESPONDERS].sum(axis=-1)
    return np.asarray(np.minimum(treated, sums[..., control, _RESPONDERS]))


def means(sums: Floats) -> Floats:
    """Mean of the metric by arm, weighted by the inverse probability; nan where an arm is empty."""
    with np.errstate(invalid="ignore", divide="ignore"):
        # Sums that were got by subtraction leave crumbs of weights where nobody is: only the count is exact.
        return np.asarray(np.where(sums[..., _CUSTOMERS] > 0, sums[..., _WY] / sums[..., _W], np.nan))


def spread(sums: Floats) -> Floats:
    """Variance of a customer's metric by arm (denominator n - 1); nan below two customers."""
    mean, n = means(sums), sums[..., _CUSTOMERS]
    with np.errstate(invalid="ignore", divide="ignore"):
        squared = sums[..., _W2YY] - 2 * mean * sums[..., _W2Y] + mean**2 * sums[..., _W2]
        return np.asarray(np.maximum(squared, 0) / sums[..., _W2] * n / (n - 1))


def variances(sums: Floats, pooled: Sequence[int] = ()) -> Floats:
    """Variance of each arm's mean.

    With `pooled` arms each arm's own spread is replaced by the common one where that is larger: the small arm of an
    uneven split often misses the rare large amounts, and then looks far surer than it is.
    """
    each = spread(sums)
    if pooled:
        n = sums[..., list(pooled), _CUSTOMERS]
        common = (n * each[..., list(pooled)]).sum(axis=-1) / n.sum(axis=-1)
        each = np.maximum(each, common[..., None])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(each * sums[..., _W2] / sums[..., _W] ** 2)


class Net(NamedTuple):
    """Net effect of contact (treatment mean - control mean - cost) and its standard error."""

    effect: Floats
    standard_error: Floats


def net(sums: Floats, treatments: Sequence[int], control: int, cost: float) -> Net:
    """Net effect per customer of the treatments, mixed in equal parts; nan where an arm is empty."""
    mean, variance = means(sums), variances(sums)
    among = list(treatments)
    with np.errstate(invalid="ignore"):
        effect = mean[..., among].mean(axis=-1) - mean[..., control] - cost
        error = np.sqrt(variance[..., among].sum(axis=-1) / len(among) ** 2 + variance[..., control])
    return Net(effect, error)
