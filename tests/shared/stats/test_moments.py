"""Moments can be added up, and say the same as NumPy on the raw values."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.stats.moments import EMPTY, Moments, merged, of_successes, of_values, shifted, with_zeros

values = st.lists(st.floats(-1e4, 1e4, allow_nan=False).map(lambda x: round(x, 3)), max_size=30)


def same(found: Moments, raw: np.ndarray) -> bool:
    """Whether moments are those of the raw values."""
    third = ((raw - raw.mean()) ** 3).mean()
    scale = max(1.0, np.abs(raw).max())
    return (
        (found.n, found.responders) == (raw.size, np.count_nonzero(raw))
        and found.mean == pytest.approx(raw.mean(), abs=1e-9 * scale)
        and (raw.size < 2 or found.variance == pytest.approx(raw.var(ddof=1), rel=1e-7, abs=1e-9 * scale**2))
        and found.third == pytest.approx(third, rel=1e-6, abs=1e-8 * scale**3)
    )


@given(values, st.integers(0, 50))
def test_customers_without_a_row_count_as_zeros(seen, untouched):
    raw = np.array(seen + [0.0] * untouched)
    if raw.size:
        assert same(of_values(seen, raw.size), raw)


@given(st.lists(values, min_size=1, max_size=5))
def test_groups_add_up_to_the_whole_whatever_the_cut(groups):
    raw = np.concatenate([np.array(group, dtype=float) for group in groups])
    found = merged(of_values(group) for group in groups)
    assert same(found, raw) if raw.size else found == EMPTY


@given(values, st.integers(0, 50))
def test_what_sql_says_of_responders_is_enough(seen, untouched):
    raw = np.array([x for x in seen if x], dtype=float)
    n = raw.size + untouched
    if not raw.size:
        return
    variance = raw.var(ddof=1) if raw.size > 1 else math.nan
    found = with_zeros(n, raw.size, raw.mean(), variance, (raw**3).mean())
    assert same(found, np.concatenate([raw, np.zeros(untouched)]))


@given(st.integers(1, 200), st.data())
def test_a_proportion_is_a_mean_of_zeros_and_ones(n, data):
    successes = data.draw(st.integers(0, n))
    assert same(of_successes(n, successes), np.array([1.0] * successes + [0.0] * (n - successes)))


def test_by_hand_two_and_four_among_four_customers():
    found = of_values([2, 4], n=4)
    assert found == Moments(4, 1.5, pytest.approx(11 / 3), pytest.approx(2.25), 2)
    assert found.skewness == pytest.approx(2.25 / 2.75**1.5)


def test_a_cost_for_everyone_moves_the_mean_and_nothing_else():
    before = of_values([10.0, 0.0, 5.0])
    assert shifted(before, -2.0) == before._replace(mean=3.0)


def test_nobody_has_no_moments_and_one_customer_no_variance():
    assert of_values([]).n == 0
    assert math.isnan(of_values([]).mean)
    assert math.isnan(of_values([3.0]).variance)
    assert merged([]) == EMPTY


def test_a_missing_third_moment_stays_unknown_instead_of_becoming_zero():
    assert math.isnan(with_zeros(10, 3, 2.0, 1.0).third)


@pytest.mark.parametrize(
    "wrong", [lambda: of_successes(3, 4), lambda: of_values([1, 2], 1), lambda: with_zeros(1, 2, 0, 0)]
)
def test_more_responders_than_customers_are_refused(wrong):
    with pytest.raises(ValueError, match="customers"):
        wrong()


def test_large_means_do_not_drown_the_variance():
    raw = 1e8 + np.random.default_rng(1).normal(size=1000)
    assert of_values(raw).variance == pytest.approx(raw.var(ddof=1), rel=1e-6)
