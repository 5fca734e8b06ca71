"""Intervals for proportions, against published tables and libraries."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from shared.stats.proportions import Counts, clopper_pearson, difference, wilson

counts = st.integers(1, 500).flatmap(lambda n: st.builds(Counts, st.just(n), st.integers(0, n)))


@pytest.mark.parametrize(
    ("treatment", "control", "low", "high"),
    [  # Newcombe (1998), table II, method 10
        (Counts(70, 56), Counts(80, 48), 0.0524, 0.3339),
        (Counts(10, 9), Counts(10, 3), 0.1705, 0.8090),
        (Counts(56, 5), Counts(29, 0), -0.0381, 0.1926),
        (Counts(10, 10), Counts(10, 0), 0.6075, 1.0000),
    ],
)
def test_newcombes_published_table(treatment, control, low, high):
    found = difference(control, treatment)
    assert (found.low, found.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


@given(counts, st.sampled_from([0.8, 0.95, 0.999]))
def test_one_proportion_has_scipys_intervals(found, level):
    test = scipy_stats.binomtest(found.successes, found.n)
    assert wilson(found, level=level) == pytest.approx(test.proportion_ci(level, "wilson"), abs=1e-9)
    assert clopper_pearson(found, level=level) == pytest.approx(test.proportion_ci(level, "exact"), abs=1e-9)


@given(counts, counts)
def test_the_interval_stays_inside_what_is_possible_and_holds_the_estimate(control, treatment):
    found = difference(control, treatment)
    assert -1 - 1e-12 <= found.low <= found.estimate + 1e-12
    assert found.estimate - 1e-12 <= found.high <= 1 + 1e-12


@given(counts, counts)
def test_swapping_the_arms_mirrors_the_interval(a, b):
    there, back = difference(a, b), difference(b, a)
    assert (there.estimate, there.low, there.high) == pytest.approx((-back.estimate, -back.high, -back.low))
    assert there.p_value == pytest.approx(back.p_value)


@pytest.mark.needs("statsmodels")
@settings(deadline=None)
@given(counts, counts)
def test_newcombe_and_the_pooled_test_are_those_of_statsmodels(control, treatment):
    from statsmodels.stats.proportion import confint_proportions_2indep, proportions_ztest

    if not 0 < control.successes + treatment.successes < control.n + treatment.n:
        return
    found = difference(control, treatment)
    interval = confint_proportions_2indep(
        treatment.successes, treatment.n, control.successes, control.n, method="newcomb", compare="diff"
    )
    test = proportions_ztest([treatment.successes, control.successes], [treatment.n, control.n])
    assert (found.low, found.high) == pytest.approx(interval, abs=1e-9)
    assert found.p_value == pytest.approx(test[1], abs=1e-12)


def test_nobody_in_an_arm_gives_nan_and_not_a_plausible_number():
    found = difference(Counts(0, 0), Counts(10, 3))
    assert all(map(math.isnan, found[:5]))
    assert math.isnan(wilson(Counts(0, 0))[0])


@pytest.mark.parametrize("wrong", [Counts(3, 4), Counts(3, -1)])
def test_impossible_counts_are_refused(wrong):
    with pytest.raises(ValueError, match="successes"):
        difference(wrong, Counts(5, 2))


@pytest.mark.parametrize("level", [0.0, 1.0, math.nan])
def test_impossible_levels_are_refused(level):
    with pytest.raises(ValueError, match="level"):
        wilson(Counts(5, 2), level=level)
