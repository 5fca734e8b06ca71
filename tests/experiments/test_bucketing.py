"""The same customer gets the same arm through every door."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.experiments import bucketing

ids = st.text(max_size=200)
weights = st.lists(st.integers(1, 100), min_size=2, max_size=6).map(lambda parts: [part / sum(parts) for part in parts])


@pytest.mark.parametrize(
    ("version", "seed", "value", "expected"),
    [  # the scheme's published known answers, and some beyond ASCII
        (1, "", "a", 0.22),
        (1, "b", "a", 0.946),
        (2, "seed", "a", 0.0505),
        (2, "foo", "ab", 0.2575),
        (2, "seed", "é", 0.8663),
        (2, "seed", "日本", 0.9652),
        (2, "seed", "user😀1", 0.5327),
    ],
)
def test_published_known_answers(version, seed, value, expected):
    assert bucketing.bucket(seed, value, version) == expected
    assert bucketing.buckets(seed, ["other", value, ""], version)[1] == expected


@given(st.text(max_size=20), st.lists(ids, max_size=30), st.sampled_from([1, 2]))
def test_the_vectorised_hash_agrees_with_the_scalar_one(seed, values, version):
    found = bucketing.buckets(seed, values, version)
    assert found.tolist() == [bucketing.bucket(seed, value, version) for value in values]


@given(st.lists(st.floats(0, 0.9999), max_size=50), weights, st.floats(0, 1))
def test_the_vectorised_arm_agrees_with_the_scalar_one(found, shares, coverage):
    of = bucketing.ranges(shares, coverage)
    assert bucketing.arms_of(np.array(found), of).tolist() == [bucketing.arm_of(each, of) for each in found]


def test_lone_surrogates_are_hashed_like_any_code_unit():
    assert bucketing.buckets("seed", ["\ud83d"])[0] == bucketing.bucket("seed", "\ud83d")


@given(st.integers(0, 9999), weights)
def test_full_coverage_leaves_nobody_without_an_arm(step, shares):
    assert bucketing.arm_of(step / 10_000, bucketing.ranges(shares)) != bucketing.NO_ARM


@given(st.integers(0, 9999), weights, st.floats(0, 1), st.floats(0, 1))
def test_a_ramp_never_moves_anyone(step, shares, one, other):
    low, high = sorted((one, other))
    before = bucketing.arm_of(step / 10_000, bucketing.ranges(shares, low))
    after = bucketing.arm_of(step / 10_000, bucketing.ranges(shares, high))
    assert before in (bucketing.NO_ARM, after)


def test_an_unknown_version_is_refused():
    for form in (lambda: bucketing.bucket("s", "a", 3), lambda: bucketing.buckets("s", ["a"], 3)):
        with pytest.raises(ValueError, match="version 3"):
            form()


@given(st.lists(st.integers(0, 60), min_size=1, max_size=30), weights)
def test_exact_counts_meet_every_stratum_and_every_arm(sizes, shares):
    counts = bucketing.exact_counts(sizes, shares)
    assert counts.sum(axis=1).tolist() == sizes
    assert counts.sum(axis=0).tolist() == bucketing.largest_remainder(sum(sizes), shares).tolist()
    assert np.all(np.abs(counts - np.outer(sizes, shares)) < 1 + 1e-6)


@given(st.integers(0, 10**6), weights)
def test_largest_remainders_sum_to_the_total_and_miss_no_quota_by_one(total, shares):
    counts = bucketing.largest_remainder(total, shares)
    assert counts.sum() == total
    assert np.all(np.abs(counts - total * np.array(shares)) < 1 + 1e-6)


@given(st.text(max_size=10), st.lists(st.tuples(ids, st.integers(0, 3)), max_size=80), weights)
def test_an_exact_split_gives_exact_counts_in_each_stratum(seed, members, shares):
    names = ["a", "b", "c", "d"]
    strata = np.array([stratum for _, stratum in members], dtype=np.int64)
    order = bucketing.draw_order(seed, [value for value, _ in members])
    arms = bucketing.exact_arms(seed, order, strata, names, shares)
    for stratum in range(4):
        held = np.bincount(arms[strata == stratum], minlength=len(shares))
        assert np.all(np.abs(held - held.sum() * np.array(shares)) < 1 + 1e-6)
    assert np.bincount(arms, minlength=len(shares)).tolist() == (
        bucketing.largest_remainder(len(members), shares).tolist()
    )


def test_over_many_seeds_even_a_stratum_of_one_gets_each_arm_by_its_weight():
    drawn = [
        bucketing.exact_arms(
            f"seed {seed}", bucketing.draw_order(f"seed {seed}", ["x", "y", "z"]), np.arange(3), "xyz", [0.7, 0.3]
        )
        for seed in range(4000)
    ]
    shares = (np.array(drawn) == 1).mean(axis=0)
    # one of three gets the second arm (largest remainder of 3 x 0.3), each equally often: 4 standard errors
    assert np.all(np.abs(shares - 1 / 3) < 4 * np.sqrt(2 / 9 / 4000))


def test_neighbouring_ids_are_spread_evenly_and_two_seeds_are_independent():
    values = [f"customer-{number:07d}" for number in range(200_000)]
    one, other = (bucketing.buckets(seed, values) < 0.1 for seed in ("layer1", "layer2"))
    assert abs(one.mean() - 0.1) < 4 * np.sqrt(0.09 / 200_000)
    assert abs(other[one].mean() - 0.1) < 4 * np.sqrt(0.09 / one.sum())
