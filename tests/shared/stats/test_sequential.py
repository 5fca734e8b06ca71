"""The confidence sequence: where it comes from, where it is tightest, and that it holds at all looks at once."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, optimize

from shared.stats.means import Difference, Mean
from shared.stats.sequential import around, critical_value, mixture_variance, p_value, planned_ratio


def seen(estimate: float, error: float, skewness: float = 0.0) -> Difference:
    """A difference without the arms' means."""
    return Difference(estimate, error, skewness, 999.0, Mean(0.0, error), Mean(estimate, error))


@given(st.floats(0.01, 100), st.floats(0, 6))
def test_the_p_value_is_one_over_the_mixture_of_likelihood_ratios(ratio, z):
    """Integrated numerically over a normal prior of variance tau^2 = r, in units of the standard error."""

    def weighted(theta: float) -> float:
        return math.exp(theta * z - theta**2 / 2 - theta**2 / (2 * ratio)) / math.sqrt(2 * math.pi * ratio)

    mixture, _ = integrate.quad(weighted, -40, 40, points=[0, z], limit=200)
    assert p_value(z, 1.0, ratio) == pytest.approx(min(1.0, 1 / mixture), rel=1e-6)


@given(st.floats(0.001, 0.5), st.floats(0.01, 100), st.floats(0, 8))
def test_p_is_at_most_alpha_exactly_when_the_interval_excludes_zero(alpha, tau_squared, estimate):
    bound = critical_value(1.0, tau_squared, alpha)
    low, _ = around(seen(estimate, 1.0), bound)
    if abs(abs(estimate) - bound) > 1e-9:
        assert (p_value(estimate, 1.0, tau_squared) <= alpha) == (low > 0)


@pytest.mark.parametrize("alpha", [0.2, 0.05, 0.01, 0.001])
def test_it_is_tightest_at_the_planned_size(alpha):
    best = optimize.minimize_scalar(
        lambda ratio: math.sqrt((1 + 1 / ratio) * math.log((1 + ratio) / alpha**2)), bounds=(0.5, 60), method="bounded"
    )
    planned = critical_value(1.0, mixture_variance(1.0, alpha), alpha)
    assert planned == pytest.approx(best.fun, rel=2e-3)
    assert planned_ratio(alpha) == pytest.approx(best.x, rel=0.25)


def test_five_thousand_looks_err_no_more_often_than_stated():
    rng, alpha, ever = np.random.default_rng(9), 0.05, 0
    sizes = np.arange(1, 5001)
    tau_squared = mixture_variance(1 / math.sqrt(2500), alpha)
    limits = np.array([critical_value(1 / math.sqrt(n), tau_squared, alpha) for n in sizes])
    for _ in range(1000):
        z = rng.normal(size=5000).cumsum() / np.sqrt(sizes)
        ever += bool((np.abs(z) >= limits).any())
    assert 0.02 < ever / 1000 <= 0.05 + 1.96 * math.sqrt(0.05 * 0.95 / 1000)


def test_skewness_widens_the_side_on_which_the_control_may_be_short_of_responders():
    bound = critical_value(1.0, 8.0, 0.05)
    even, skewed = around(seen(0.0, 1.0), bound), around(seen(0.0, 1.0, -0.3), bound)
    assert even == pytest.approx((-even[1], -even[0]))
    assert skewed[0] < even[0]
    assert skewed[1] < even[1]


def test_a_design_without_a_planned_error_is_refused():
    for wrong in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="planned standard error"):
            mixture_variance(wrong, 0.05)


def test_without_spread_nothing_is_shown():
    assert critical_value(0.0, 1.0, 0.05) == math.inf
