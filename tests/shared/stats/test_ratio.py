"""The relative effect: against Fieller's closed form, exact tails, the difference's own test, and simulation."""

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import beta

from shared.stats.designs import Design, Evidence, Plan
from shared.stats.looks import Kind, decide
from shared.stats.means import Difference, Mean, Stratum, difference, fixed
from shared.stats.moments import of_successes, of_values
from shared.stats.randomisation import Block, Draw, compare
from shared.stats.ratio import behind, relative
from shared.stats.sequential import around
from shared.stats.skew_correction import limits

counts = st.integers(30, 400)


def between(low: float, high: float):
    """Quantiles that do not depend on the skewness."""
    return lambda _: (low, high)


def ratio(control: Mean, treatment: Mean, critical: float = 1.96):
    """The relative effect of two means."""
    error = math.hypot(control.standard_error, treatment.standard_error)
    found = Difference(treatment.estimate - control.estimate, error, 0.0, 99.0, control, treatment)
    return relative(found, between(-critical, critical))


@given(st.floats(3, 60), st.floats(-5, 60), st.floats(0.1, 3), st.floats(0.5, 2.9))
def test_it_is_fiellers_closed_form(control, treatment, error, critical):
    found = ratio(Mean(control, 1.0), Mean(treatment, error), critical)
    squared = critical**2
    edges = np.roots(
        [control**2 - squared, -2 * control * treatment, treatment**2 - squared * error**2],
    )
    assert (found.low, found.high) == pytest.approx(tuple(np.sort(edges.real) - 1), rel=1e-6, abs=1e-6)


@given(counts, counts, st.floats(1.5, 4.5))
def test_its_ends_are_the_ratios_at_which_the_difference_is_just_rejected(few, many, bound):
    """The control's values times such a ratio: then the absolute interval ends at zero."""
    rng = np.random.default_rng([few, many])
    control, treatment = rng.lognormal(size=few), rng.lognormal(size=many)
    arms = of_values(control, 1_000), of_values(treatment, 9_000)
    found = relative(difference([Stratum(*arms)]), partial(limits, bound))
    if math.isnan(found.low):
        return
    for edge, end in ((found.low, 0), (found.high, 1)):
        scaled = of_values(control * (1 + edge), 1_000)
        there = difference([Stratum(scaled, arms[1])])
        assert around(there, bound)[end] == pytest.approx(0, abs=1e-6 * there.standard_error)


@settings(max_examples=30, deadline=None)
@given(counts, counts, st.floats(0.5, 2), st.sampled_from(Kind), st.sampled_from(Design))
def test_it_excludes_no_effect_exactly_where_the_absolute_interval_does(few, many, factor, kind, design):
    rng = np.random.default_rng([few, many])
    control, treatment = rng.lognormal(1, 1, few + 100), factor * rng.lognormal(1, 1, many + 100)
    if kind is Kind.PROPORTION:
        control, treatment = np.sign(control), np.sign(treatment)
    sizes = 1_000, round(1_000 * treatment.size / control.size)
    sizes = sizes[0], max(sizes[1], treatment.size + 30)
    evidence = Evidence(
        [Stratum(of_values(control, sizes[0]), of_values(treatment, sizes[1]))],
        kind,
        fraction=1.0,
        final=True,
        draw=Draw([Block(*sizes, control, treatment)]) if kind is Kind.MONEY else None,
    )
    found = decide(Plan(design, planned_standard_error=0.1), [], evidence)
    assert math.isfinite(found.relative.low)
    assert (found.interval.low > 0, found.interval.high < 0) == (found.relative.low > 0, found.relative.high < 0)


@given(st.integers(2, 60), st.integers(2, 60), st.floats(0.01, 0.5))
def test_at_a_fixed_horizon_it_agrees_with_students_interval_about_no_effect(few, many, level):
    plain = difference([Stratum(of_successes(70, few), of_successes(70, many))])
    shown = fixed(plain, level=1 - level, method="Welch")
    found = relative(plain, behind(plain, shown.low, shown.high))
    if math.isfinite(found.low):
        assert (shown.low > 0, shown.high < 0) == (found.low > 0, found.high < 0)


@pytest.mark.parametrize(("few", "many"), [(30, 950), (50, 950), (75, 950), (40, 760), (100, 1_500)])
def test_responders_of_a_small_control_give_nearly_the_exact_interval_of_the_ratio(few, many):
    """Rare responses of arms of 5 % and 95 %: given how many there are, the treatment's are binomial. Mid-p ends."""
    n = 100_000
    found = difference([Stratum(of_successes(n, few), of_successes(19 * n, many))])
    skewed, plain = relative(found, partial(limits, 1.96)), relative(found, between(-1.96, 1.96))
    ends = [(_exact(few, many, tail) / 19 - 1) for tail in (0.025, 0.975)]
    assert (skewed.low, skewed.high) == pytest.approx(ends, abs=0.03 * (ends[1] - ends[0]))
    assert abs(skewed.low - ends[0]) < abs(plain.low - ends[0]) / 2


def _exact(few: int, many: int, tail: float) -> float:
    """Ratio of two Poisson means whose exact tail, half of the count itself included, is `tail`: between two betas."""

    def above(share: float) -> float:
        return float(beta.cdf(share, many, few + 1) + beta.cdf(share, many + 1, few)) / 2

    share = brentq(lambda share: above(share) - tail, 0.5, 0.9999)
    return share / (1 - share)


def test_a_loss_of_skewed_money_is_ruled_out_as_seldom_as_stated_with_five_per_cent_control():
    """The treatment earns nine tenths; a plain z-statistic would rule that out four times too often."""
    rng, runs, size = np.random.default_rng(8), 100, 20_000
    ruled_out = plain = 0
    for run in range(runs):
        control, treatment = (rng.lognormal(3, 1.5, rng.poisson(due)) for due in (40, 0.9 * 760))
        dealt = compare(Draw([Block(size // 20, size, control, treatment)]), seed=run, draws=2_000)
        found = difference([Stratum(of_values(control, size // 20), of_values(treatment, size))])
        missing = 0.9 * found.control.estimate
        error = math.hypot(found.treatment.standard_error, 0.9 * found.control.standard_error)
        plain += (found.treatment.estimate - missing) / error > 1.96
        low, high = behind(found, dealt.low, dealt.high)(found.skewness)
        ruled_out += (found.treatment.estimate - missing) / error > high
        assert low < high
    assert ruled_out <= runs * 0.025 + 1.96 * math.sqrt(runs * 0.025 * 0.975)
    assert plain > runs * 0.075


@pytest.mark.parametrize(
    ("control", "critical", "words"),
    [
        (Mean(2.9, 1.0), 1.96, "less than three"),
        (Mean(-5.0, 1.0), 1.96, "not above zero"),
        (Mean(4.0, 1.0), 4.5, "unbounded: the control's mean"),
        (Mean(5.0, 0.0), math.inf, "unbounded: so is the difference"),
        (Mean(5.0, 1.0), math.nan, "no interval"),
    ],
)
def test_no_relative_effect_without_ends_or_on_a_control_that_may_be_zero(control, critical, words):
    found = ratio(control, Mean(7.0, 1.0), critical)
    assert math.isnan(found.low)
    assert words in found.reason


def test_no_relative_effect_where_nobody_differs_and_the_reason_is_that():
    exact = Difference(2.0, 0.0, math.nan, math.nan, Mean(5.0, 0.0), Mean(7.0, 0.0))
    found = relative(exact, behind(exact, 2.0, 2.0))
    assert (found.estimate, found.reason) == (pytest.approx(0.4), "no spread in either arm")


def test_a_treatment_without_any_response_lost_everything():
    found = ratio(Mean(5.0, 1.0), Mean(0.0, 0.0))
    assert (found.low, found.high) == pytest.approx((-1, -1))
