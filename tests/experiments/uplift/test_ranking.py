"""Qini, AUUC and RATE mean what they say, whatever the order of rows and the scale of scores."""

from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.experiments.uplift import folds, ranking

FIGURES = (ranking.qini, ranking.auuc, ranking.rate)


def sample(seed: int, n: int = 400, share: float = 0.5) -> tuple[ranking.Sample, np.ndarray]:
    """A random experiment and scores with ties that have something to do with the effect."""
    draw = np.random.default_rng(seed)
    scores = draw.integers(0, 9, n).astype(float)
    treated = draw.random(n) < share
    outcome = (draw.random(n) < 0.2 + treated * scores / 30).astype(float)
    weight = np.where(treated, 1 / share, 1 / (1 - share))
    gamma = np.where(treated, outcome * weight, -outcome * weight)
    blocks = folds.blocks(folds.hashed(np.arange(n).astype(str)))
    return ranking.Sample(gamma, treated * weight, ~treated * weight, outcome, blocks), scores


def figures(sample: ranking.Sample, scores: np.ndarray) -> list[float]:
    sums = ranking._sums(ranking._groups(scores), sample.columns)
    return [float(figure(sums)) for figure in FIGURES]


def test_figures_worked_by_hand():
    """Four customers, best first: contacted 1, control 0, contacted 0, control 1."""
    both = ranking.Sample(
        gamma=np.array([2.0, 0.0, 0.0, -2.0]),
        treated=np.array([2.0, 0.0, 2.0, 0.0]),
        control=np.array([0.0, 2.0, 0.0, 2.0]),
        outcome=np.array([1.0, 0.0, 0.0, 1.0]),
        blocks=np.zeros(4, dtype=int),
    )
    qini, auuc, rate = figures(both, np.array([4.0, 3.0, 2.0, 1.0]))
    # gain at 1/4, 1/2, 3/4, 1: 1/4, 1/2, 3/8, 0; the Qini curve has 1/2, 1/2, 1/2, 0 there
    assert auuc == pytest.approx((0.25 + 0.5 + 0.375) / 4)
    assert qini == pytest.approx((0.5 + 0.5 + 0.5) / 4)
    # mean of the top q: 2 up to 1/4, then 1/(2q), then (1/2 - 2(q - 3/4))/q from 3/4 on; of all: 0
    assert rate == pytest.approx(0.5 + log(3) / 2 + 2 * log(4 / 3) - 0.5)


def test_rate_of_two_customers_by_hand():
    two = ranking.Sample(np.array([1.0, 0.0]), *(np.ones(2),) * 3, np.zeros(2, dtype=int))
    assert figures(two, np.array([2.0, 1.0]))[2] == pytest.approx(log(2) / 2)


def test_rate_is_the_average_over_thresholds():
    """Against its definition, taken customer by customer."""
    both, _ = sample(3, n=20_000)
    scores = np.random.default_rng(1).normal(size=20_000) + both.gamma / 20
    gamma = both.gamma[np.argsort(-scores)]
    top = np.cumsum(gamma) / np.arange(1, len(gamma) + 1)
    assert figures(both, scores)[2] == pytest.approx(float(top.mean() - gamma.mean()), abs=2e-3)


@given(st.integers(0, 50))
def test_neither_the_order_of_rows_nor_a_monotone_transform_matters(seed):
    both, scores = sample(seed)
    order = np.random.default_rng(seed).permutation(len(scores))
    shuffled = ranking.Sample(*(each[order] for each in both))
    assert figures(shuffled, np.exp(scores[order] / 3) - 7) == pytest.approx(figures(both, scores), abs=1e-12)


def test_a_judgement_does_not_depend_on_the_order_of_rows_either():
    both, scores = sample(5)
    order = np.random.default_rng(5).permutation(len(scores))
    shuffled = ranking.Sample(*(each[order] for each in both))
    one, two = ranking.judge("a", scores, both), ranking.judge("a", scores[order], shuffled)
    assert np.allclose([*one.qini, *one.auuc, *one.rate], [*two.qini, *two.auuc, *two.rate])


def test_constant_scores_are_worth_nothing():
    both, scores = sample(1)
    found = ranking.judge("constant", np.zeros_like(scores), both)
    for figure in (found.qini, found.auuc, found.rate):
        assert list(figure) == pytest.approx([0, 0, 0, 0], abs=1e-12)


def test_the_opposite_order_is_as_bad_as_the_order_is_good():
    both, scores = sample(2)
    ahead, behind = figures(both, scores), figures(both, -scores)
    assert ahead[1] > 0 > behind[1]


def test_uneven_arms_are_weighed_away():
    """The same effects, 50/50 and 10/90: the figures agree within their noise."""
    even, odd = (ranking.judge("a", scores, both) for both, scores in (sample(8, 60_000), sample(8, 60_000, 0.9)))
    for one, two in ((even.auuc, odd.auuc), (even.qini, odd.qini), (even.rate, odd.rate)):
        assert abs(one.estimate - two.estimate) < 4 * np.hypot(one.standard_error, two.standard_error)
        assert one.low > 0


def test_bootstrap_errors_are_those_seen_over_repeated_experiments():
    found = [ranking.judge("a", scores, both) for both, scores in (sample(seed, 3000) for seed in range(120))]
    for name in ("qini", "auuc", "rate"):
        each = [getattr(one, name) for one in found]
        seen = np.std([one.estimate for one in each], ddof=1)
        assert np.mean([one.standard_error for one in each]) == pytest.approx(seen, rel=0.25)


@pytest.mark.needs("sklift")
def test_curves_equal_those_of_scikit_uplift():
    """Same definitions there, in totals instead of per customer; its areas are scaled otherwise and not compared."""
    from sklift.metrics import qini_curve, uplift_curve

    both, scores = sample(4, 2000)
    treated = (both.treated > 0).astype(int)
    sums = ranking._sums(ranking._groups(scores), both.columns)
    counted = np.column_stack([sums[:, :2], sums[:, 2:] / 2])  # probability 1/2 each: weight 2
    for ours, theirs, scale in (
        (ranking.gain_curve, uplift_curve, len(scores)),
        (ranking.qini_curve, qini_curve, treated.sum()),
    ):
        share, height = ours(counted)
        at, total = theirs(both.outcome, scores, treated)
        assert share * len(scores) == pytest.approx(at)
        assert height * scale == pytest.approx(total)
