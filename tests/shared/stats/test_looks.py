"""The rule that turns looks into a verdict: what it promises, whatever the design."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.stats.correlated_looks import Products, correlation
from shared.stats.designs import Design, Evidence, PastLook, Plan
from shared.stats.group_sequential import Spending, bounds, spent
from shared.stats.looks import Kind, decide
from shared.stats.means import Stratum, difference
from shared.stats.moments import of_successes, of_values
from shared.stats.randomisation import Block, Draw
from shared.stats.sequential import around, critical_value, mixture_variance, p_value
from shared.stats.skew_correction import corrected

BLAST = Plan(Design.ONE_BLAST)
OPEN = Plan(Design.OPEN_ENROLMENT, planned_standard_error=0.004)


def halves(control: int, treatment: int, n: int = 10_000) -> list[Stratum]:
    """Two arms of the same size that responded so often."""
    return [Stratum(of_successes(n, control), of_successes(n, treatment))]


def nested(*counts: int, n: int = 10_000) -> Products:
    """Responders by look, each look's among those of the next."""
    found = np.array(counts, dtype=float)
    return Products(n, found, np.minimum.outer(found, found))


def blast(control: list[int], treatment: list[int], days: list[int], window: int = 14, plan: Plan = BLAST, **how):
    """All looks at one blast, as responders by day come in."""
    past: list[PastLook] = []
    found = []
    for k, day in enumerate(days):
        pair = (nested(*control[: k + 1]), nested(*treatment[: k + 1]))
        evidence = Evidence(
            halves(control[k], treatment[k]),
            Kind.PROPORTION,
            fraction=day / window,
            final=day == window,
            correlation=correlation([pair]),
        )
        found.append(decide(plan, past, evidence, **how))
        past.append(found[-1].as_past())
    return found


def test_one_look_at_the_end_is_a_test_at_alpha():
    found = decide(BLAST, [], Evidence(halves(400, 470), Kind.PROPORTION, fraction=1.0, final=True))
    plain = difference(halves(400, 470))
    assert found.bound == pytest.approx(1.959964, abs=1e-4)
    assert found.interval.low == pytest.approx(plain.estimate - 1.96 * plain.standard_error, abs=2e-5)
    assert found.crossed
    assert not found.overstated
    assert found.p_value == pytest.approx(math.erfc(abs(found.statistic) / math.sqrt(2)), rel=2e-3)


def test_a_verdict_before_the_end_is_called_overstated_and_stands():
    looks = blast([100, 200, 400], [220, 330, 410], [4, 9, 14])
    assert [look.crossed for look in looks] == [True, True, False]
    assert [look.decided for look in looks] == [True, True, True]
    assert [look.overstated for look in looks] == [True, True, False]


@pytest.mark.parametrize(("early", "overstated"), [(False, False), (True, True)])
def test_a_last_look_overstates_only_where_somebody_stopped_before_the_planned_end(early, overstated):
    evidence = Evidence(halves(400, 520), Kind.PROPORTION, fraction=1.0, final=True, early=early)
    found = decide(BLAST, [], evidence)
    assert (found.decided, found.overstated) == (True, overstated)


def test_sequential_p_values_never_rise_and_say_the_same_as_the_verdict():
    looks = blast([100, 160, 230, 300], [110, 210, 300, 380], [3, 6, 9, 14])
    p_values = [look.p_value for look in looks]
    assert p_values == sorted(p_values, reverse=True)
    assert all(look.decided == (look.p_value <= 0.05) for look in looks)
    assert all((look.interval.low > 0) == look.crossed for look in looks)


@pytest.mark.parametrize("alpha", [0.2, 0.01, 0.002])
def test_the_p_value_is_the_alpha_at_which_the_last_look_would_just_have_crossed(alpha):
    days, control, treatment = [5, 10, 14], [100, 200, 300], [105, 212, 395]
    p_value = blast(control, treatment, days)[-1].p_value
    assert 1e-6 < p_value < 0.2
    assert blast(control, treatment, days, plan=BLAST._replace(alpha=alpha))[-1].crossed == (p_value <= alpha)


def test_alpha_follows_the_schedule_and_the_last_look_spends_what_is_left():
    looks = blast([100, 200, 300], [100, 200, 300], [7, 10, 14])
    assert [look.spent for look in looks] == pytest.approx([0.0125, 0.05 * (10 / 14) ** 2, 0.05])


def test_a_look_with_too_few_responders_gives_no_verdict_and_leaves_its_share_to_the_next():
    looks = blast([10, 200], [90, 330], [4, 9])
    assert looks[0].bound == math.inf
    assert "10 responders" in looks[0].interval.reason
    assert not looks[0].crossed
    assert looks[0].spent == 0.0
    assert looks[1].bound == pytest.approx(blast([200], [330], [9])[0].bound)


def test_looking_twice_on_a_day_spends_nothing_more():
    looks = blast([100, 104], [120, 121], [5, 5])
    assert looks[1].bound == math.inf
    assert looks[1].spent == looks[0].spent
    assert "no alpha to spend" in looks[1].interval.reason


def test_an_interim_look_leaves_something_for_the_end():
    found = decide(BLAST, [], Evidence(halves(300, 320), Kind.PROPORTION, fraction=1.0))
    assert found.spent < 0.05


def staggered(sizes: list[int], plan: Plan, rate: float = 0.1):
    """All looks at sends that mature, both arms of these sizes, without any difference."""
    past: list[PastLook] = []
    found = []
    for n in sizes:
        evidence = Evidence(halves(round(n * rate), round(n * rate), n), Kind.PROPORTION, final=n == sizes[-1])
        found.append(decide(plan, past, evidence))
        past.append(found[-1].as_past())
    return found


def test_staggered_sends_have_the_published_bounds_when_the_plan_was_right():
    error = math.sqrt(2 * 0.1 * 0.9 / 9999)
    looks = staggered([2000, 4000, 6000, 8000, 10_000], Plan(Design.STAGGERED, planned_standard_error=error))
    assert [look.bound for look in looks] == pytest.approx([3.0902, 2.7141, 2.4728, 2.2799, 2.1140], abs=2e-3)


@pytest.mark.parametrize("mistaken", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("spending", list(Spending))
def test_a_wrong_planned_variance_changes_the_schedule_and_not_the_error(mistaken, spending):
    error = mistaken * math.sqrt(2 * 0.1 * 0.9 / 10_000)
    plan = Plan(Design.STAGGERED, spending=spending, planned_standard_error=error)
    looks = staggered([2000, 3000, 7000, 10_000], plan)
    assert looks[-1].spent == pytest.approx(0.05)
    used = [look for look in looks if math.isfinite(look.bound)]
    increments = np.diff([0.0, *(look.spent for look in used)])
    assert [look.bound for look in used] == pytest.approx(bounds([look.clock for look in used], increments))
    assert all(spent(spending, look.fraction, 0.05) == look.spent for look in looks)


def test_the_clock_is_right_when_later_waves_vary_more():
    """The total difference has independent increments: simulated correlation against that of the clock."""
    rng = np.random.default_rng(3)
    first, second = rng.normal(0, 1, (4000, 2, 100)), rng.normal(0, 3, (4000, 2, 100))
    both = np.concatenate([first, second], axis=2)
    simulated = np.corrcoef(first.mean(axis=2) @ np.array([-1, 1]), both.mean(axis=2) @ np.array([-1, 1]))[0, 1]
    looks = [
        decide(
            Plan(Design.STAGGERED, planned_standard_error=0.1),
            [],
            Evidence([Stratum(of_values(part[0, 0]), of_values(part[0, 1]))], Kind.COUNT, fraction=0.5),
        )
        for part in (first, both)
    ]
    assert math.sqrt(looks[0].clock / looks[1].clock) == pytest.approx(simulated, abs=0.06)


def test_open_enrolment_is_the_confidence_sequence_and_keeps_the_smallest_p():
    first = decide(OPEN, [], Evidence(halves(300, 480), Kind.PROPORTION))
    later = decide(OPEN, [first.as_past()], Evidence(halves(900, 930, 30_000), Kind.PROPORTION))
    seen, tau_squared = difference(halves(300, 480)), mixture_variance(0.004, 0.05)
    bound = critical_value(seen.standard_error, tau_squared, 0.05)
    z = corrected(seen.estimate / seen.standard_error, seen.skewness)
    assert first.interval[:3] == pytest.approx((seen.estimate, *around(seen, bound)))
    assert first.p_value == pytest.approx(p_value(z, seen.standard_error, tau_squared))
    assert first.decided
    assert later.p_value == first.p_value
    assert not later.crossed


MONEY = np.random.default_rng(2).lognormal(3, 1, 1200)


def money(control: int, treatment: int, raised: float = 0.0, **further) -> Evidence:
    """Skewed money on a frozen list of 40,000 split exactly in halves."""
    low, high = MONEY[:control], MONEY[600 : 600 + treatment] + raised
    strata = [Stratum(of_values(low, 20_000), of_values(high, 20_000))]
    return Evidence(
        strata, Kind.MONEY, fraction=1.0, final=True, draw=Draw([Block(20_000, 20_000, low, high)]), **further
    )


def test_money_on_a_frozen_list_is_tested_by_re_dealing_it():
    found = decide(BLAST, [], money(400, 400, raised=20.0))
    assert found.interval.method == "randomisation test"
    assert found.crossed
    assert found.interval.low > 0
    assert decide(BLAST, [], money(400, 400, raised=20.0)) == found


@settings(max_examples=10, deadline=None)
@given(st.floats(-8, 8), st.integers(0, 99))
def test_the_interval_of_money_excludes_zero_exactly_when_the_look_crosses(raised, seed):
    found = decide(BLAST, [], money(300, 300, raised=raised, seed=seed))
    assert found.crossed == (found.interval.low > 0 or found.interval.high < 0)
    assert found.decided == (found.p_value <= 0.05)


def test_a_quick_look_comes_to_the_same_verdict():
    for raised in (0.0, 20.0):
        full, quick = (decide(BLAST, [], money(400, 400, raised=raised), quick=how) for how in (False, True))
        assert full.crossed == quick.crossed
    counts = ([100, 200, 300], [105, 212, 395], [5, 10, 14])
    assert [look.crossed for look in blast(*counts)] == [look.crossed for look in blast(*counts, quick=True)]


def test_a_hundred_buyers_are_needed_for_money_and_skewness_is_warned_of():
    assert "99 responders, 100" in decide(BLAST, [], money(99, 300)).too_few
    assert "skewed" in decide(BLAST, [], money(150, 300)).warning


def test_nobody_and_nothing_give_reasons_and_no_numbers():
    nobody = decide(BLAST, [], Evidence([Stratum(of_values([]), of_values([]))], Kind.COUNT, fraction=0.5))
    assert nobody.too_few
    assert math.isnan(nobody.interval.low)
    assert nobody.p_value == 1.0
    nothing = decide(BLAST, [], Evidence(halves(0, 0), Kind.PROPORTION, fraction=0.5))
    assert (nothing.crossed, nothing.bound) == (False, math.inf)
    assert "0 responders" in nothing.relative.reason


@pytest.mark.parametrize(
    ("plan", "past", "evidence", "words"),
    [
        (BLAST, [], Evidence(halves(100, 120), Kind.PROPORTION), "fraction"),
        (BLAST, [PastLook(1, 0.2, 3, 0, 1)], Evidence(halves(100, 120), Kind.PROPORTION, fraction=0.4), "correlations"),
        (Plan(Design.STAGGERED), [], Evidence(halves(100, 120), Kind.PROPORTION), "planned standard error"),
        (Plan(Design.OPEN_ENROLMENT), [], Evidence(halves(100, 120), Kind.PROPORTION), "planned standard error"),
    ],
)
def test_a_look_that_lacks_what_its_design_needs_is_refused(plan, past, evidence, words):
    with pytest.raises(ValueError, match=words):
        decide(plan, past, evidence)
