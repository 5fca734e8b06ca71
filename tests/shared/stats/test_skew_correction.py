"""The skew correction against exact tails, where plain z-statistics are far off."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr
from scipy.stats import poisson

from shared.stats.skew_correction import corrected, uncorrected


@given(st.floats(-8, 8), st.floats(-1, 1))
def test_the_correction_can_be_undone(statistic, skewness):
    assert uncorrected(corrected(statistic, skewness), skewness) == pytest.approx(statistic, abs=1e-6)


@given(st.floats(-8, 8), st.floats(-8, 8), st.floats(-1, 1))
def test_it_keeps_the_order(one, other, skewness):
    assert corrected(min(one, other), skewness) <= corrected(max(one, other), skewness) + 1e-12


@given(st.floats(-8, 8), st.floats(-1, 1))
def test_swapping_the_arms_mirrors_it(statistic, skewness):
    assert corrected(-statistic, -skewness) == pytest.approx(-corrected(statistic, skewness))


@pytest.mark.parametrize("count", [28, 31, 34, 70, 75, 80])
def test_responders_of_a_small_control_have_nearly_their_exact_tail(count):
    """50 due, the large treatment arm adds no noise: within a factor 2.5 of the mid-p, and never worse than plain z."""
    tail = poisson.cdf(count, 50) if count < 50 else poisson.sf(count - 1, 50)
    exact = tail - poisson.pmf(count, 50) / 2
    plain = (count - 50) / math.sqrt(count)
    found = ndtr(-abs(corrected(plain, 1 / math.sqrt(count))))
    assert 1 / 2.5 < found / exact < 2.5
    assert abs(math.log(found / exact)) < abs(math.log(ndtr(-abs(plain)) / exact))


def test_plain_statistics_are_too_small_by_a_factor_of_twenty_where_the_correction_errs_on_the_safe_side():
    exact = poisson.cdf(28, 50) - poisson.pmf(28, 50) / 2
    plain = (28 - 50) / math.sqrt(28)
    assert ndtr(plain) < exact / 20
    assert exact < ndtr(corrected(plain, 1 / math.sqrt(28)))


def test_most_of_the_imbalance_of_skewed_means_between_the_two_tails_is_gone():
    rng = np.random.default_rng(1)
    raw = rng.exponential(size=(40_000, 80))
    error = raw.std(axis=1, ddof=1) / math.sqrt(80)
    skewness = ((raw - raw.mean(axis=1, keepdims=True)) ** 3).mean(axis=1) / 80**2 / error**3
    plain = (raw.mean(axis=1) - 1) / error
    mapped = np.array([corrected(t, a) for t, a in zip(plain, skewness, strict=True)])
    nominal = float(ndtr(-2.5))
    assert (plain < -2.5).mean() > 3 * nominal
    assert (plain > 2.5).mean() < nominal / 3
    assert (mapped < -2.5).mean() < 1.7 * nominal
    assert (mapped > 2.5).mean() == pytest.approx(nominal, rel=0.3)


def test_unknown_skewness_changes_nothing():
    assert corrected(2.0, math.nan) == 2.0
    assert uncorrected(2.0, math.nan) == 2.0


def test_an_infinite_bound_stays_infinite():
    assert uncorrected(math.inf, 0.3) == math.inf
    assert uncorrected(-math.inf, 0.3) == -math.inf
