"""Sample ratio, multiplicity and the small-and-skewed rule."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from shared.stats import multiplicity, sample_ratio, small_sample
from shared.stats.moments import of_successes, of_values
from shared.stats.small_sample import Kind

p_values = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@given(st.lists(st.integers(1, 5000), min_size=2, max_size=5), st.data())
def test_the_sample_ratio_is_scipys_chi_square(observed, data):
    weights = data.draw(st.lists(st.floats(0.1, 1), min_size=len(observed), max_size=len(observed)))
    expected = np.array(weights) / sum(weights) * sum(observed)
    test = scipy_stats.chisquare(observed, expected)
    found = sample_ratio.chi_square(observed, weights)
    assert found.statistic == pytest.approx(test.statistic, rel=1e-9)
    assert found.p_value == pytest.approx(test.pvalue, rel=1e-6, abs=1e-300)
    assert found.failed == (found.p_value < 0.001)


def test_weights_that_changed_are_compared_regime_by_regime():
    regimes = [([5000, 5000], [0.5, 0.5]), ([1000, 9000], [0.1, 0.9])]
    assert not sample_ratio.by_regime(regimes).failed
    assert sample_ratio.chi_square([6000, 14_000], [0.5, 0.5]).failed


def test_an_experiment_without_customers_passes():
    assert sample_ratio.chi_square([0, 0], [1, 1]).p_value == 1.0
    assert sample_ratio.sequential_p_value([0, 0], [1, 1]) == 1.0


@pytest.mark.parametrize("weights", [[0.5, 0.5], [0.05, 0.95], [0.2, 0.3, 0.5]])
def test_the_sequential_sample_ratio_survives_a_look_after_every_hundred_customers(weights):
    rng, alarms, runs = np.random.default_rng(7), 0, 300
    for _ in range(runs):
        counts = rng.multinomial(100, weights, size=200).cumsum(axis=0)
        alarms += any(sample_ratio.sequential_p_value(list(now), weights) < 0.05 for now in counts)
    assert alarms / runs <= 0.05 + 1.96 * math.sqrt(0.05 * 0.95 / runs)


def test_the_sequential_sample_ratio_is_a_ratio_of_likelihoods_by_hand():
    """One customer in arm one: the prior predicts its weight, so nothing is learnt; then two of the same arm."""
    assert sample_ratio.sequential_p_value([1, 0], [0.5, 0.5]) == pytest.approx(1.0)
    factor = (501 / 1001) / 0.5
    assert sample_ratio.sequential_p_value([2, 0], [0.5, 0.5]) == pytest.approx(1 / factor)


def test_a_real_mismatch_is_found_whenever_the_sizes_are_looked_at():
    assert sample_ratio.sequential_p_value([52_000, 48_000], [1, 1]) < 1e-6
    assert sample_ratio.sequential_p_value([52_000, 52_000], [1, 1]) == 1.0


@pytest.mark.parametrize(("observed", "weights"), [([1], [1]), ([1, 2], [1]), ([-1, 2], [1, 1]), ([1, 2], [0, 1])])
def test_sizes_and_weights_that_do_not_fit_are_refused(observed, weights):
    with pytest.raises(ValueError, match="do not fit"):
        sample_ratio.chi_square(observed, weights)


@given(p_values)
def test_benjamini_hochberg_is_scipys(found):
    assert multiplicity.benjamini_hochberg(found) == pytest.approx(list(scipy_stats.false_discovery_control(found)))


@pytest.mark.needs("statsmodels")
@settings(deadline=None, max_examples=20)
@given(p_values)
def test_holm_is_that_of_statsmodels(found):
    from statsmodels.stats.multitest import multipletests

    assert multiplicity.holm(found) == pytest.approx(list(multipletests(found, method="holm")[1]), abs=1e-12)


@given(p_values)
def test_holm_rejects_what_its_steps_reject_by_definition(found):
    ordered, alpha = sorted(found), 0.05
    rejected = 0
    while rejected < len(ordered) and ordered[rejected] * (len(ordered) - rejected) <= alpha:
        rejected += 1
    assert sum(p <= alpha for p in multiplicity.holm(found)) == rejected


def test_a_test_without_an_answer_stays_without_one_and_still_counts_in_the_family():
    adjusted = multiplicity.holm([0.02, math.nan, 0.5])
    assert adjusted[0] == pytest.approx(0.06)
    assert math.isnan(adjusted[1])


def test_an_impossible_p_value_is_refused():
    with pytest.raises(ValueError, match="p-value"):
        multiplicity.holm([1.2])


@pytest.mark.parametrize(
    ("kind", "control", "treatment", "words"),
    [
        (Kind.PROPORTION, of_successes(1000, 24), of_successes(9000, 300), "control has 24 responders, 25"),
        (Kind.PROPORTION, of_successes(1000, 25), of_successes(9000, 300), None),
        (Kind.PROPORTION, of_successes(1000, 980), of_successes(9000, 8000), "20 customers who did not respond"),
        (Kind.COUNT, of_values([2.0] * 30, 1000), of_values([1.0] * 24, 1000), "treatment has 24 responders, 25"),
        (Kind.MONEY, of_values([9.0] * 99, 1000), of_values([9.0] * 500, 1000), "control has 99 responders, 100"),
        (Kind.MONEY, of_values([9.0] * 100, 1000), of_values([9.0] * 500, 1000), None),
    ],
)
def test_too_few_responders_allow_no_verdict(kind, control, treatment, words):
    found = small_sample.too_few(kind, control, treatment)
    assert words in found if words else found is None


def test_the_skewness_warning_starts_at_355_customers_per_squared_skewness():
    """A rate of 1 % has skewness 9.85, so that 34,440 customers per arm are wanted."""
    assert small_sample.skewness_warning(of_successes(34_400, 344), of_successes(99_000, 990))
    assert small_sample.skewness_warning(of_successes(34_500, 345), of_successes(99_000, 990)) is None
