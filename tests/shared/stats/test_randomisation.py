"""The randomisation test: all re-deals of a tiny experiment, SciPy's permutation test, and its own promises."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from shared.stats import randomisation
from shared.stats.means import Stratum, difference
from shared.stats.moments import of_values
from shared.stats.randomisation import Block, Draw, _many, compare, together


def block(control, treatment) -> Block:
    """A block from all values, zeros included."""
    control, treatment = np.array(control, dtype=float), np.array(treatment, dtype=float)
    return Block(control.size, treatment.size, control[control != 0], treatment[treatment != 0])


def studentised(control, treatment) -> float:
    """Welch's statistic by NumPy."""
    error = math.sqrt(np.var(control, ddof=1) / len(control) + np.var(treatment, ddof=1) / len(treatment))
    return (np.mean(treatment) - np.mean(control)) / error


CONTROL, TREATMENT = [0, 0, 3, 0, 8, 1], [0, 9, 0, 4, 12, 7, 2]


def test_a_tiny_experiment_agrees_with_the_list_of_all_its_re_deals():
    values = np.array(CONTROL + TREATMENT, dtype=float)
    observed = studentised(CONTROL, TREATMENT)
    every = []
    for chosen in combinations(range(13), 6):
        rest = np.delete(values, chosen)
        every.append(studentised(values[list(chosen)], rest))
    found = compare(Draw([block(CONTROL, TREATMENT)]), seed=1, draws=40_000)
    assert found.statistic == pytest.approx(observed)
    assert found.p_upper == pytest.approx(np.mean(np.array(every) >= observed - 1e-9), abs=0.01)
    assert found.p_lower == pytest.approx(np.mean(np.array(every) <= observed + 1e-9), abs=0.01)


def test_it_agrees_with_scipys_permutation_test_on_skewed_money():
    rng = np.random.default_rng(5)
    control, treatment = (np.where(rng.random(n) < 0.2, rng.lognormal(3, 1, n), 0.0) for n in (60, 300))
    expected = scipy_stats.permutation_test(
        (treatment, control),
        lambda t, c, axis: (
            (t.mean(axis=axis) - c.mean(axis=axis))
            / np.sqrt(t.var(axis=axis, ddof=1) / t.shape[axis] + c.var(axis=axis, ddof=1) / c.shape[axis])
        ),
        vectorized=True,
        n_resamples=4000,
        alternative="greater",
        rng=np.random.default_rng(1),
    )
    found = compare(Draw([block(control, treatment)]), seed=2, draws=8000)
    assert found.statistic == pytest.approx(expected.statistic)
    assert found.p_upper == pytest.approx(expected.pvalue, abs=0.03)


def test_the_statistic_is_the_stratified_one():
    rng = np.random.default_rng(3)
    arms = [(rng.poisson(0.4, 30), rng.poisson(0.5, 50)), (rng.poisson(2.0, 40), rng.poisson(2.0, 80))]
    expected = difference([Stratum(of_values(c), of_values(t)) for c, t in arms])
    found = compare(Draw([block(c, t) for c, t in arms]), seed=1)
    assert found.estimate == pytest.approx(expected.estimate)
    assert found.standard_error == pytest.approx(expected.standard_error)


def test_strata_are_dealt_apart():
    """All money is in the stratum where the treatment has most customers; pooling would call that an effect."""
    rich, poor = block([900.0, 1100.0], rng_values(1000, 40, 1)), block([0.0] * 38, [0.0, 0.0])
    within = compare(Draw([rich, poor]), seed=1).p_value
    pooled = compare(Draw([Block(40, 42, rich.control, rich.treatment)]), seed=1).p_value
    assert within > 0.2
    assert pooled < 0.01


def rng_values(mean: float, size: int, seed: int) -> np.ndarray:
    """Values around a mean."""
    return np.random.default_rng(seed).normal(mean, 100, size)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_swapping_the_arms_swaps_the_tails(seed):
    rng = np.random.default_rng(seed)
    control, treatment = rng.poisson(0.7, 40).astype(float), rng.poisson(0.9, 40).astype(float)
    there = compare(Draw([block(control, treatment)]), seed=1, draws=4000)
    back = compare(Draw([block(treatment, control)]), seed=1, draws=4000)
    assert there.p_upper == pytest.approx(back.p_lower, abs=0.06)
    assert there.estimate == pytest.approx(-back.estimate)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 30))
def test_the_interval_excludes_zero_exactly_when_p_is_at_most_the_level(seed, effect):
    rng = np.random.default_rng(seed)
    found = compare(Draw([Block(500, 500, rng.lognormal(3, 1, 40), rng.lognormal(3, 1, 60) + effect)]), seed=seed)
    assert (found.p_value <= 0.05) == (found.low > 0 or found.high < 0)
    assert found.low <= found.estimate <= found.high


def test_the_same_seed_gives_the_same_answer():
    draw = Draw([block(CONTROL, TREATMENT)])
    assert compare(draw, seed=5) == compare(draw, seed=5)
    assert compare(draw, seed=5) != compare(draw, seed=6)


def test_too_few_re_deals_for_the_level_give_an_infinite_interval_and_not_a_narrow_one():
    found = compare(Draw([block(CONTROL, TREATMENT)]), seed=1, draws=2000, level=0.0001)
    assert (found.low, found.high) == (-math.inf, math.inf)


def test_stopping_early_says_nearly_the_same_with_fewer_re_deals():
    rng = np.random.default_rng(6)
    draw = Draw([Block(2000, 2000, rng.lognormal(size=150), rng.lognormal(size=160))])
    full, early = compare(draw, seed=1, draws=20_000), compare(draw, seed=1, draws=20_000, stop_after=50)
    assert early.draws < full.draws / 10
    assert early.p_value == pytest.approx(full.p_value, abs=0.15)
    assert math.isnan(early.low)


@pytest.mark.parametrize("split", ["exact", "hash"])
@pytest.mark.parametrize("stop_after", [None, 10])
def test_p_values_are_even_when_nothing_differs_with_five_per_cent_control_and_skewed_money(split, stop_after):
    """0.9 % buy: Welch's upper tail rejects far too often here."""
    rng, lower, upper = np.random.default_rng(8), [], []
    for run in range(300):
        money = rng.lognormal(3.5, 1.2, rng.binomial(20_000, 0.009))
        chosen = rng.random(money.size) < 0.05
        sizes = (1000, 19_000) if split == "exact" else ((control := rng.binomial(20_000, 0.05)), 20_000 - control)
        found = compare(
            Draw([Block(*sizes, money[chosen], money[~chosen])]),
            seed=run,
            draws=2000,
            stop_after=stop_after,
        )
        lower.append(found.p_lower)
        upper.append(found.p_upper)
    for level in (0.025, 0.1, 0.5):
        margin = 2.6 * math.sqrt(level * (1 - level) / 300)
        assert np.mean(np.array(lower) <= level) <= level + margin
        assert np.mean(np.array(upper) <= level) <= level + margin
    assert np.mean(np.array(lower) <= 0.5) >= 0.4


def test_a_cost_for_everyone_contacted_moves_the_effect_and_its_test():
    rng = np.random.default_rng(2)
    same = Block(5000, 5000, rng.lognormal(3, 1, 400), rng.lognormal(3, 1, 400))
    free, costly = compare(Draw([same]), seed=1), compare(Draw([same], shift=-1.5), seed=1)
    assert costly.estimate == pytest.approx(free.estimate - 1.5)
    assert (costly.low, costly.high) == pytest.approx((free.low - 1.5, free.high - 1.5))
    assert free.p_value > 0.05
    assert costly.p_lower < 0.001


def test_a_block_with_one_customer_in_an_arm_is_put_together_with_others():
    found = compare(Draw([block([1.0], [3.0, 4.0, 0.0]), block(CONTROL, TREATMENT)]), seed=1)
    assert math.isfinite(found.p_value)
    assert found.estimate == pytest.approx(np.mean([*TREATMENT, 3, 4, 0]) - np.mean([*CONTROL, 1]))


def test_blocks_put_together_hold_everybody_and_no_blocks_nobody():
    found = together([block([1.0], [3.0, 4.0]), Block(5, 6, np.array([2.0]), np.array([]))])
    assert (found.control_size, found.treatment_size) == (6, 8)
    assert (found.control.tolist(), found.treatment.tolist()) == ([1, 2], [3, 4])
    nobody = together([])
    assert (nobody.control_size, nobody.control.size, nobody.treatment.size) == (0, 0, 0)


def test_without_any_spread_there_is_no_answer():
    found = compare(Draw([Block(10, 10, np.array([]), np.array([]))]), seed=1)
    assert math.isnan(found.p_value)
    assert found.draws == 0


@pytest.mark.parametrize(
    "wrong",
    [
        Draw([]),
        Draw([Block(1, 5, np.array([1.0, 2.0]), np.array([]))]),
    ],
)
def test_impossible_draws_are_refused(wrong):
    with pytest.raises(ValueError, match=r"dealt|customers"):
        compare(wrong, seed=1)


def test_where_many_responded_everyone_is_as_likely_dealt_to_either_arm():
    """Each of 2,000 is taken as often as any other, and two of them together as sampling without replacement has it."""
    rng, size, taken, draws = np.random.default_rng(4), 2_000, 700, 4_000
    chosen = np.array([_many(rng, taken, size) for _ in range(draws)])
    assert (chosen.sum(axis=1) == taken).all()
    share, together = taken / size, taken * (taken - 1) / size / (size - 1)
    often = (chosen.mean(axis=0) - share) / math.sqrt(share * (1 - share) / draws)
    assert scipy_stats.kstest(often, "norm").pvalue > 0.001
    pairs = (chosen[:, ::2] & chosen[:, 1::2]).mean()
    assert pairs == pytest.approx(together, abs=5 * math.sqrt(together / draws / (size / 2)))
    assert [_many(rng, each, size).sum() for each in (0, 1, size)] == [0, 1, size]


def test_a_stratum_with_many_responders_is_dealt_like_one_with_few(monkeypatch):
    rng = np.random.default_rng(9)
    draw = Draw([Block(9_000, 6_000, rng.lognormal(size=1_300), rng.lognormal(size=1_000))])
    many = compare(draw, seed=1, draws=8_000)
    monkeypatch.setattr(randomisation, "MANY", 10**9)
    few = compare(draw, seed=1, draws=8_000)
    assert (many.low, many.high) == (pytest.approx(few.low, rel=0.1), pytest.approx(few.high, rel=0.1))
    assert many.p_value == pytest.approx(few.p_value, abs=0.03)
