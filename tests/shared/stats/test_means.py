"""Differences of means, against SciPy, statsmodels, arithmetic by hand and simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from shared.stats.interval import Interval
from shared.stats.means import Stratum, difference, fixed, standard_error
from shared.stats.moments import Moments, of_successes, of_values

arms = st.lists(st.floats(-1000, 1000).map(lambda x: round(x, 2)), min_size=3, max_size=30).filter(
    lambda found: max(found) - min(found) > 0.01
)


def stratified(strata: list[Stratum]) -> Interval:
    """What the results call the interval of a fixed horizon."""
    return fixed(difference(strata), level=0.95, method="stratified")


def welch(control: Moments, treatment: Moments) -> Interval:
    """The same of arms without strata."""
    return stratified([Stratum(control, treatment)])


@given(arms, arms)
def test_welch_is_that_of_scipy(control, treatment):
    found = welch(of_values(control), of_values(treatment))
    expected = scipy_stats.ttest_ind(treatment, control, equal_var=False)
    interval = expected.confidence_interval(0.95)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-6, abs=1e-6)


@given(arms, arms)
def test_swapping_the_arms_mirrors_the_interval(control, treatment):
    there, back = welch(of_values(control), of_values(treatment)), welch(of_values(treatment), of_values(control))
    assert (there.estimate, there.low, there.high) == pytest.approx((-back.estimate, -back.high, -back.low))


@pytest.mark.needs("statsmodels")
def test_welch_is_that_of_statsmodels_on_skewed_money_with_five_per_cent_control():
    from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

    rng = np.random.default_rng(3)
    control, treatment = (np.where(rng.random(n) < 0.009, rng.lognormal(3, 1, n), 0) for n in (2_000, 38_000))
    found = welch(of_values(control), of_values(treatment))
    comparison = CompareMeans(DescrStatsW(treatment), DescrStatsW(control))
    assert (found.low, found.high) == pytest.approx(comparison.tconfint_diff(usevar="unequal"), rel=1e-9)
    assert found.p_value == pytest.approx(comparison.ttest_ind(usevar="unequal")[1], rel=1e-9)


def test_stratified_by_hand():
    """Two strata of 40 and 60 customers: weights 0.4 and 0.6."""
    strata = [
        Stratum(Moments(10, 1.0, 2.0, 0.0, 10), Moments(30, 2.0, 3.0, 0.0, 30)),
        Stratum(Moments(15, 5.0, 6.0, 0.0, 15), Moments(45, 5.5, 9.0, 0.0, 45)),
    ]
    found = stratified(strata)
    assert found.estimate == pytest.approx(0.4 * 1.0 + 0.6 * 0.5)
    assert found.standard_error == pytest.approx(math.sqrt(0.16 * (0.2 + 0.1) + 0.36 * (0.4 + 0.2)))


def test_stratified_is_the_spread_that_exact_splits_really_have_and_welch_overstates_it():
    rng = np.random.default_rng(5)
    rates, size, estimates, errors, welch_errors = (0.05, 0.6), 400, [], [], []
    for _ in range(400):
        counts = [(rng.binomial(size, rate), rng.binomial(size, rate)) for rate in rates]
        strata = [Stratum(of_successes(size, c), of_successes(size, t)) for c, t in counts]
        estimates.append(stratified(strata).estimate)
        errors.append(stratified(strata).standard_error)
        control, treatment = (of_successes(2 * size, sum(pair[arm] for pair in counts)) for arm in (0, 1))
        welch_errors.append(welch(control, treatment).standard_error)
    spread = np.std(estimates)
    assert np.mean(errors) == pytest.approx(spread, rel=0.1)
    assert np.mean(welch_errors) > 1.2 * np.mean(errors)


def test_a_stratum_with_one_customer_in_an_arm_is_pooled_and_nobody_is_lost():
    strata = [
        Stratum(of_values([1.0, 2.0, 0.0, 4.0]), of_values([2.0, 2.0, 5.0, 1.0])),
        Stratum(of_values([10.0]), of_values([0.0, 3.0])),
        Stratum(of_values([]), of_values([7.0])),
    ]
    found = difference(strata)
    assert found.control.estimate == pytest.approx(np.mean([1, 2, 0, 4, 10]))
    assert found.treatment.estimate == pytest.approx(np.mean([2, 2, 5, 1, 0, 3, 7]))


def test_small_strata_together_make_a_stratum_of_their_own():
    large = Stratum(of_successes(50, 5), of_successes(50, 6))
    small = [Stratum(of_values([1.0]), of_values([0.0])), Stratum(of_values([0.0]), of_values([1.0]))]
    together = Stratum(of_successes(2, 1), of_successes(2, 1))
    assert difference([large, *small])[:4] == pytest.approx(difference([large, together])[:4], rel=1e-12)


def test_skewness_of_the_difference_is_that_of_simulated_differences():
    rng = np.random.default_rng(8)
    small, large = rng.exponential(size=(20_000, 20)), rng.exponential(size=(20_000, 80))
    simulated = scipy_stats.skew(large.mean(axis=1) - small.mean(axis=1))
    exponential = Moments(20, 1.0, 1.0, 2.0, 20)
    found = difference([Stratum(exponential, exponential._replace(n=80))])
    assert found.skewness == pytest.approx(simulated, abs=0.04)
    assert found.skewness == pytest.approx((2 / 80**2 - 2 / 20**2) / (1 / 80 + 1 / 20) ** 1.5)


@pytest.mark.parametrize(("control", "treatment"), [([], [1.0, 2.0]), ([1.0], [2.0]), ([1.0, 1.0], [1.0, 1.0])])
def test_without_two_customers_or_any_spread_there_is_a_reason_and_no_interval(control, treatment):
    found = welch(of_values(control), of_values(treatment))
    assert math.isnan(found.low)
    assert math.isnan(found.p_value)
    assert found.reason


@pytest.mark.parametrize(("variance", "sizes"), [(1.0, (0, 5)), (-1.0, (5, 5)), (float("nan"), (5, 5))])
def test_a_plan_without_customers_or_variance_is_refused(variance, sizes):
    with pytest.raises(ValueError, match="variance"):
        standard_error(variance, *sizes)
