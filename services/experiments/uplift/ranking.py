"""How well an order of customers puts those first whom contact changes most.

Every figure is per customer, averages ties, and so depends neither on the order of rows nor on the scale of the scores;
for constant scores it is 0. Everything is a function of sums by rank group (customers of one score), the last axis but
one, so that one call serves the estimate and all replicates of the bootstrap.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.experiments.uplift import folds
from services.experiments.uplift.data import Floats, ModelRanking
from services.experiments.uplift.scores import interval

REPLICATES = 400
BINS = 250
TWENTIETHS = np.linspace(0, 1, 21)


class Sample(NamedTuple):
    """The held-out customers: `gamma` is the AIPW score of the effect; weights are 0 for other arms' customers."""

    gamma: Floats
    treated: Floats  # inverse probability of those contacted, else 0
    control: Floats  # inverse probability of those in control, else 0
    outcome: Floats
    blocks: NDArray[np.int64]

    @property
    def columns(self) -> Floats:
        """Array (customers, 6): 1, Γ, w_t, w_t·y, w_c, w_c·y."""
        return np.column_stack(
            [
                np.ones(len(self.gamma)),
                self.gamma,
                self.treated,
                self.treated * self.outcome,
                self.control,
                self.control * self.outcome,
            ]
        )


def judge(name: str, scores: Floats, sample: Sample) -> ModelRanking:
    """All three figures with half-sample bootstrap intervals, and the gain at every twentieth."""
    groups = _groups(scores)
    sums = _sums(groups, sample.columns)
    found = np.array([qini(sums), auuc(sums), rate(sums)])
    errors = _replicates(groups, sample).std(axis=1, ddof=1)
    shares, gain = gain_curve(sums)
    curve = zip(TWENTIETHS.tolist(), np.interp(TWENTIETHS, shares, gain).tolist(), strict=True)
    of_qini, of_auuc, of_rate = (interval(float(value), float(se)) for value, se in zip(found, errors, strict=True))
    return ModelRanking(name, of_qini, of_auuc, of_rate, tuple(curve))


def _groups(scores: Floats) -> NDArray[np.int64]:
    """The rank group of each customer, 0 for the highest score."""
    values, position = np.unique(scores, return_inverse=True)
    return np.asarray(len(values) - 1 - position).astype(np.int64)


def _sums(groups: NDArray[np.int64], columns: Floats) -> Floats:
    return np.asarray(np.stack([np.bincount(groups, column) for column in columns.T], axis=-1), dtype=np.float64)


def _curve(sums: Floats) -> tuple[Floats, Floats, Floats]:
    """Cumulative (w_t, w_c) share, mean of the contacted and of the control, by group; zeros where nobody is yet."""
    run = np.cumsum(sums, axis=-2)
    treated, of_treated, control, of_control = (run[..., column] for column in range(2, 6))
    with np.errstate(invalid="ignore", divide="ignore"):
        share = (treated + control) / (treated + control)[..., -1:]
        mean_treated = np.where(treated > 0, of_treated / treated, 0.0)
        mean_control = np.where(control > 0, of_control / control, 0.0)
    return share, mean_treated, mean_control


def gain_curve(sums: Floats) -> tuple[Floats, Floats]:
    """(share, share·(mean contacted − mean control)) by group, from (0, 0) on."""
    share, treated, control = _curve(sums)
    return _from_zero(share), _from_zero(share * (treated - control))


def qini_curve(sums: Floats) -> tuple[Floats, Floats]:
    """(share, (Y_t − Y_c·N_t/N_c)/N_t of all) by group, from (0, 0) on (Radcliffe 2007)."""
    share, treated, control = _curve(sums)
    so_far = np.cumsum(sums[..., 2], axis=-1)
    return _from_zero(share), _from_zero((treated - control) * so_far / so_far[..., -1:])


def _from_zero(values: Floats) -> Floats:
    return np.concatenate([np.zeros_like(values[..., :1]), values], axis=-1)


def _over_random(curve: tuple[Floats, Floats]) -> Floats:
    share, height = curve
    area = (np.diff(share, axis=-1) * (height[..., 1:] + height[..., :-1]) / 2).sum(axis=-1)
    return np.asarray(area - height[..., -1] / 2)


def auuc(sums: Floats) -> Floats:
    """Area under the gain curve less the area under random order."""
    return _over_random(gain_curve(sums))


def qini(sums: Floats) -> Floats:
    """Area under the Qini curve less the area under random order."""
    return _over_random(qini_curve(sums))


def rate(sums: Floats) -> Floats:
    """∫ (mean Γ of the top q − mean Γ) dq: the rank-weighted average treatment effect with weights 1/q (AUTOC).

    Yadlowsky, Fleming, Shah, Brunskill and Wager (2021), arXiv:2111.07966. Within a group of ties Γ is its mean, so the
    integral of (S + g·(q − Q))/q over the group is exact: g·(q₁ − q₀) + (S − g·Q)·ln(q₁/q₀).
    """
    n, gamma = sums[..., 0], sums[..., 1]
    total = n.sum(axis=-1, keepdims=True)
    upper, run = np.cumsum(n, axis=-1) / total, np.cumsum(gamma, axis=-1) / total
    lower, before = _from_zero(upper)[..., :-1], _from_zero(run)[..., :-1]
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(n > 0, gamma / n, 0.0)
        bend = np.where(lower > 0, (before - mean * lower) * np.log(upper / lower), 0.0)
    return np.asarray((mean * (upper - lower) + np.nan_to_num(bend)).sum(axis=-1) - run[..., -1])


def _replicates(groups: NDArray[np.int64], sample: Sample) -> Floats:
    """Array (3, replicates): the figures on random halves of the customers.

    A half drawn without replacement varies around the whole as the whole varies around the truth. Customers are drawn
    by hashed blocks and ranks put into bins, so that all replicates are one matrix product.
    """
    coarse = _binned(groups)
    cell = coarse * folds.BLOCKS + sample.blocks
    size = int(coarse.max()) + 1
    bins = [np.bincount(cell, column, size * folds.BLOCKS) for column in sample.columns.T]
    table = np.asarray(np.stack(bins), dtype=np.float64)
    draw = np.random.default_rng(0).permuted(np.tile(np.arange(folds.BLOCKS) % 2, (REPLICATES, 1)), axis=1)
    drawn = table.reshape(6, size, folds.BLOCKS) @ draw.T.astype(np.float64)
    sums: Floats = np.asarray(np.moveaxis(drawn, (0, 1, 2), (2, 1, 0)), dtype=np.float64)
    return np.stack([qini(sums), auuc(sums), rate(sums)])


def _binned(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """At most 250 bins of neighbouring rank groups with about as many customers each."""
    count = np.bincount(groups)
    middle = np.cumsum(count) - count / 2
    bins = np.minimum((middle / count.sum() * BINS).astype(np.int64), BINS - 1)
    return np.unique(bins, return_inverse=True)[1].ravel()[groups].astype(np.int64)
