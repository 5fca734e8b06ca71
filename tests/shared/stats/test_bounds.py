"""Bounds of looks: published values, an independent integrator, and each other."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from shared.stats import correlated_looks
from shared.stats.correlated_looks import Products, correlation
from shared.stats.group_sequential import Spending, bounds, next_bound, spent


def shares(spending: Spending, fractions, alpha: float = 0.05) -> list[float]:
    """Alpha spent at each look."""
    return list(np.diff([0.0, *(spent(spending, fraction, alpha) for fraction in fractions)]))


def markov(information) -> np.ndarray:
    """Correlations when increments are independent."""
    found = np.asarray(information, dtype=float)
    return np.sqrt(np.minimum.outer(found, found) / np.maximum.outer(found, found))


def chance_of_crossing(matrix: np.ndarray, limits) -> float:
    """The chance that any |Z| reaches its bound, by SciPy's integrator of the normal box."""
    limits = np.array(limits)
    law = multivariate_normal(np.zeros(limits.size), matrix, allow_singular=True, maxpts=400_000, abseps=1e-6, seed=1)
    return float(1 - law.cdf(limits, lower_limit=-limits))


REFERENCE = {  # five equal steps, alpha 0.05, two-sided
    Spending.QUADRATIC: [3.0902, 2.7141, 2.4728, 2.2799, 2.1140],
    Spending.OBRIEN_FLEMING: [4.8769, 3.3570, 2.6803, 2.2898, 2.0310],
    Spending.POCOCK: [2.4380, 2.4268, 2.4102, 2.3966, 2.3860],
}


@pytest.mark.parametrize("spending", list(Spending))
def test_published_bounds_of_five_equal_steps(spending):
    found = bounds([1, 2, 3, 4, 5], shares(spending, np.arange(1, 6) / 5))
    assert [round(bound, 4) for bound in found] == REFERENCE[spending]


@pytest.mark.parametrize("spending", list(Spending))
def test_sampled_bounds_agree_with_the_published_ones_where_increments_are_independent(spending):
    found = correlated_looks.bounds(markov([1, 2, 3, 4, 5]), shares(spending, np.arange(1, 6) / 5))
    assert found == pytest.approx(REFERENCE[spending], abs=0.005)


@pytest.mark.parametrize("spending", list(Spending))
def test_all_of_alpha_is_spent_at_the_end_and_none_before_the_start(spending):
    assert spent(spending, 1.0, 0.05) == pytest.approx(0.05, abs=1e-12)
    assert spent(spending, 1.7, 0.05) == pytest.approx(0.05, abs=1e-12)
    assert spent(spending, 0.0, 0.05) == 0.0


@given(st.sampled_from(Spending), st.floats(0.001, 1), st.floats(0.001, 1), st.floats(0.001, 0.3))
def test_spending_never_falls(spending, one, other, alpha):
    assert spent(spending, min(one, other), alpha) <= spent(spending, max(one, other), alpha) <= alpha + 1e-12


def test_uneven_looks_cross_as_often_as_scipys_integrator_says():
    information = [0.11, 0.15, 0.48, 0.49, 0.83, 1.0]
    limits = bounds(information, shares(Spending.QUADRATIC, information))
    assert chance_of_crossing(markov(information), limits) == pytest.approx(0.05, abs=2e-4)


def test_sixty_daily_looks_spend_what_they_should():
    information = np.arange(1, 61) / 60
    limits = np.array(bounds(information, shares(Spending.QUADRATIC, information)))
    steps = np.random.default_rng(2).normal(size=(40_000, 60)) / math.sqrt(60)
    z = steps.cumsum(axis=1) / np.sqrt(information)
    assert (np.abs(z) >= limits).any(axis=1).mean() == pytest.approx(0.05, abs=0.0033)


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 5), st.integers(0, 10_000))
def test_bounds_for_any_correlation_spend_alpha(looks, seed):
    factor = np.random.default_rng(seed).normal(size=(looks, looks + 1)) + 1
    covariance = factor @ factor.T
    scale = np.sqrt(np.diag(covariance))
    matrix = covariance / np.outer(scale, scale)
    limits = correlated_looks.bounds(matrix, shares(Spending.QUADRATIC, np.arange(1, looks + 1) / looks))
    assert chance_of_crossing(matrix, limits) == pytest.approx(0.05, abs=1e-3)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(0.02, 1), min_size=2, max_size=8))
def test_both_ways_to_bounds_agree_when_increments_are_independent(steps):
    information = np.cumsum(steps)
    spending = shares(Spending.QUADRATIC, information / information[-1])
    integrated, sampled = bounds(information, spending), correlated_looks.bounds(markov(information), spending)
    assert sampled == pytest.approx(integrated, abs=0.02)


def test_looks_that_repeat_each_other_need_almost_no_wider_bound():
    """Spending 0.01 and then 0.04 on the same figure is a test at 0.05."""
    matrix = np.ones((2, 2))
    last = correlated_looks.bounds(matrix, [0.01, 0.04])[-1]
    assert last == pytest.approx(1.96, abs=0.01)
    assert bounds([1.0, 1.0], [0.01, 0.04])[-1] == pytest.approx(1.96, abs=0.05)


def test_uncorrelated_looks_each_test_at_what_is_left():
    last = correlated_looks.bounds(np.eye(2), [0.01, 0.04])[-1]
    assert 2 * (1 - 0.5 * math.erfc(-last / math.sqrt(2))) == pytest.approx(0.04 / 0.99, abs=3e-4)


@pytest.mark.parametrize("next_one", [next_bound, lambda i, b, a: correlated_looks.next_bound(markov(i), b, a)])
def test_a_look_without_a_share_has_no_verdict_and_costs_nothing(next_one):
    assert next_one([1.0, 2.0], [2.5], 0.0) == math.inf
    assert next_one([1.0, 2.0, 3.0], [2.5, math.inf], 0.02) == pytest.approx(next_one([1.0, 3.0], [2.5], 0.02))


def test_the_number_of_looks_must_fit():
    with pytest.raises(ValueError, match="past bounds"):
        next_bound([1.0, 2.0], [], 0.01)
    with pytest.raises(ValueError, match="past bounds"):
        correlated_looks.next_bound(np.eye(2), [], 0.01)
    with pytest.raises(ValueError, match="information"):
        next_bound([0.0, 1.0], [2.0], 0.01)


def products(values: np.ndarray) -> Products:
    """Sums and products of values, shape (customers, looks)."""
    return Products(len(values), values.sum(axis=0), values.T @ values)


def test_correlation_is_that_of_simulated_differences_with_late_responses():
    """Responses fall evenly on 14 days; of those seen by day 14, 3/14 are seen by day 3."""
    rng = np.random.default_rng(4)
    day, responds = rng.integers(1, 15, size=20_000), rng.random(20_000) < 0.1
    seen = (responds[:, None] & (day[:, None] <= np.array([3, 7, 14]))).astype(float)
    estimated = correlation([(products(seen[:8000]), products(seen[8000:]))])
    arms = rng.random((1500, 20_000)) < 0.4
    differences = (~arms @ seen) / (~arms).sum(axis=1, keepdims=True) - (arms @ seen) / arms.sum(axis=1, keepdims=True)
    assert estimated == pytest.approx(np.corrcoef(differences.T), abs=0.07)
    assert estimated[0, 2] == pytest.approx(math.sqrt(3 / 14), abs=0.05)


def test_correlation_within_strata_ignores_what_only_differs_between_them():
    rng = np.random.default_rng(6)
    first, second = rng.normal(size=(500, 2)), rng.normal(size=(500, 2)) + 50
    apart = correlation(
        [(products(first[:250]), products(first[250:])), (products(second[:250]), products(second[250:]))]
    )
    together = correlation([(products(np.vstack([first, second])[::2]), products(np.vstack([first, second])[1::2]))])
    assert abs(apart[0, 1]) < 0.15
    assert together[0, 1] > 0.99


def test_a_look_before_any_response_correlates_with_none():
    seen = np.array([[0.0, 1.0], [0.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    assert correlation([(products(seen), products(seen))]) == pytest.approx(np.eye(2))


def test_taking_days_for_information_errs_when_responses_come_late():
    """Responses by day t of 14 are t^3: bounds for independent increments in t cross too often, estimated ones not."""
    days = np.arange(1, 15) / 14
    late, spending = markov(days**3), shares(Spending.QUADRATIC, days)
    by_day, estimated = bounds(days, spending), correlated_looks.bounds(late, spending)
    z = np.random.default_rng(3).multivariate_normal(np.zeros(14), late, size=100_000, method="eigh")
    assert (np.abs(z) >= by_day).any(axis=1).mean() > 0.065
    assert (np.abs(z) >= estimated).any(axis=1).mean() == pytest.approx(0.05, abs=0.003)
