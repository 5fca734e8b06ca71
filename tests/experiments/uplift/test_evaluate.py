"""Effects by customer are found where they are, and judged where they were not learnt."""

import csv
import gzip
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.experiments.uplift import UpliftData, columns_of, evaluate, folds, learners
from services.experiments.uplift import features as encoding
from services.experiments.uplift.scores import aipw, estimate
from tests.conftest import real_data

ARMS = ("nothing", "letter")


def shop(n: int, seed: int, *, share: float = 0.5, heterogeneous: bool = True, cost: float = 0.03) -> UpliftData:
    """Letters add 10 points for the young and nothing for the others; the old respond more anyway."""
    draw = np.random.default_rng(seed)
    age = draw.integers(18, 80, n)
    young = age < 45
    arms = (draw.random(n) < share).astype(np.int64)
    effect = np.where(young, 0.10, 0.0) if heterogeneous else 0.045
    outcome = (draw.random(n) < np.where(young, 0.10, 0.25) + arms * effect).astype(float)
    return UpliftData(
        customers=np.array([f"c{number}" for number in range(n)]),
        arms=arms,
        arm_keys=ARMS,
        control="nothing",
        outcome=outcome,
        probability=np.where(arms == 1, share, 1 - share),
        features={"age": age.tolist(), "city": draw.choice(["Lyon", "Gent"], n).tolist()},
        cost={"letter": cost},
    )


def test_the_effect_of_everyone_is_found_and_surely_so():
    truth = 0.10 * 27 / 62
    found = [evaluate(shop(4000, seed)).arms[0].effect for seed in range(60)]
    covered = sum(each.low <= truth <= each.high for each in found)
    assert covered >= 51  # P(fewer than 51 of 60 at 95 %) < 0.1 %
    assert np.mean([each.estimate for each in found]) == pytest.approx(truth, abs=0.006)


def test_customers_who_are_moved_are_ranked_above_those_who_respond():
    (arm,) = evaluate(shop(40_000, 1)).arms
    learner, response = arm.models
    assert (learner.name, response.name) == ("t_learner", "response_model")
    assert learner.rate.low > 0
    assert learner.auuc.low > 0
    assert learner.qini.low > 0
    assert response.auuc.estimate < learner.auuc.estimate
    assert arm.winner == "t_learner"
    assert arm.importances[0].feature == "age"
    assert arm.importances[0].importance > 5 * arm.importances[1].importance


def test_the_policy_that_leaves_out_the_unmoved_beats_contacting_everyone():
    (arm,) = evaluate(shop(40_000, 2)).arms
    value = {policy.name: policy for policy in arm.policies}
    assert arm.accepted
    assert "brings more than contacting everyone" in arm.verdict
    assert 0.35 < value["learned"].share < 0.70  # a line through a step: 27 of 62 ages are moved
    assert value["contact_none"].value == (0, 0, 0, 0)
    assert value["learned"].value.estimate - value["contact_all"].value.estimate == pytest.approx(
        arm.gain_over_all.estimate
    )
    assert value["learned"].value.estimate > value["response_model"].value.estimate
    assert arm.gain_over_all.low < 0.03 * 35 / 62 < arm.gain_over_all.high + 0.01
    assert 0.3 <= arm.best_share < 0.9


def test_a_policy_that_loses_to_contacting_everyone_is_rejected_in_words():
    """Nothing to tell apart, and noise that was learnt: leaving anybody out loses."""
    lost = [
        arm
        for seed in range(12)
        for arm in evaluate(shop(3000, seed, heterogeneous=False, cost=0.02)).arms
        if arm.gain_over_all.estimate < 0 and arm.policies[0].share < 1
    ]
    clear = [arm for arm in lost if arm.gain_over_all.high < 0]
    assert 0 < len(clear) < len(lost)
    for arm in lost:
        said = "Rejected" if arm.gain_over_all.high < 0 else "Not shown to beat contacting everyone"
        assert (arm.verdict.startswith(said), arm.accepted) == (True, False)


def test_profit_by_share_contacted_runs_from_nobody_to_everyone():
    (arm,) = evaluate(shop(20_000, 3)).arms
    assert arm.profit[0] == (0, 0, 0, 0, 0)
    everyone = next(policy for policy in arm.policies if policy.name == "contact_all")
    assert arm.profit[-1][1:] == pytest.approx(everyone.value)
    assert len(arm.profit) == 21


def test_profit_counts_in_money():
    people = shop(20_000, 4)
    (one,), (ten,) = evaluate(people).arms, evaluate(people._replace(value=10.0, cost={"letter": 0.3})).arms
    assert ten.gain_over_all.estimate == pytest.approx(10 * one.gain_over_all.estimate)
    assert ten.effect == one.effect


def test_an_arm_is_charged_what_it_costs_more_than_the_control():
    people = shop(20_000, 4)
    both = people._replace(cost={"letter": 0.08, "nothing": 0.05})
    (one,), (two,) = evaluate(people).arms, evaluate(both).arms
    assert [policy.share for policy in two.policies] == [policy.share for policy in one.policies]
    for policy, other in zip(one.policies, two.policies, strict=True):
        assert other.value == pytest.approx(policy.value)


def test_an_outcome_net_of_contacts_earns_what_the_outcome_and_its_costs_do():
    apart = shop(20_000, 4)._replace(outcome=shop(20_000, 4).outcome * 2)  # not 0 or 1, so that all models are linear
    net = apart._replace(outcome=apart.outcome - 0.03 * apart.arms, cost={}, responded=apart.outcome != 0)
    (one,), (other,) = evaluate(apart).arms, evaluate(net).arms
    assert other.effect.estimate == pytest.approx(one.effect.estimate - 0.03)
    assert other.gain_over_all == pytest.approx(one.gain_over_all)
    assert other.profit[-1] == pytest.approx(one.profit[-1])


def test_a_contact_paid_for_is_no_response():
    people = shop(150, 9)
    net = people._replace(outcome=people.outcome - people.arms, responded=people.outcome != 0)
    assert "too few" in (evaluate(net).arms[0].reason or "")


def test_where_less_is_better_the_ranking_turns_round():
    people = shop(20_000, 5, cost=0.0)
    complaints = people._replace(outcome=1 - people.outcome, value=-1.0)
    (up,), (down,) = evaluate(people).arms, evaluate(complaints).arms
    assert down.effect.estimate == pytest.approx(-up.effect.estimate)
    assert down.models[0].auuc.estimate == pytest.approx(up.models[0].auuc.estimate, abs=1e-6)


def test_the_order_of_rows_decides_nothing():
    people = shop(6000, 6)
    order = np.random.default_rng(0).permutation(6000)
    shuffled = people._replace(
        customers=people.customers[order],
        arms=people.arms[order],
        outcome=people.outcome[order],
        probability=people.probability[order],
        features={name: [values[at] for at in order] for name, values in people.features.items()},
    )
    (one,), (two,) = evaluate(people).arms, evaluate(shuffled).arms
    assert two.scores == pytest.approx(one.scores[order], abs=1e-9)
    assert np.allclose([each.profit for each in one.profit], [each.profit for each in two.profit])
    assert [round(policy.value.estimate, 9) for policy in one.policies] == [
        round(policy.value.estimate, 9) for policy in two.policies
    ]


def test_strata_count_as_a_feature():
    people = shop(6000, 7)._replace(features={})
    strata = np.where(np.arange(6000) % 2, "north", "south")
    (arm,) = evaluate(people._replace(strata=strata)).arms
    assert [each.feature for each in arm.importances] == ["stratum"]


def test_without_features_everybody_is_alike_and_nothing_is_claimed():
    (arm,) = evaluate(shop(6000, 8)._replace(features={})).arms
    # each half has one score only
    assert arm.models[0].auuc.estimate == pytest.approx(0, abs=1e-12)
    assert not arm.accepted


def test_too_few_responders_are_said_instead_of_ranked():
    (arm,) = evaluate(shop(150, 9)).arms
    assert arm.models == arm.profit == arm.policies == ()
    assert arm.winner is None
    assert "too few" in (arm.reason or "")
    assert not arm.accepted


def test_nobody_at_all_gives_nan_and_no_ranking():
    people = shop(10, 1)
    nobody = people._replace(
        customers=people.customers[:0],
        arms=people.arms[:0],
        outcome=people.outcome[:0],
        probability=people.probability[:0],
        features={},
    )
    (arm,) = evaluate(nobody).arms
    assert np.isnan(arm.effect.estimate)
    assert arm.reason


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"control": "other"}, "no arm"),
        ({"probability": np.zeros(50)}, "probability"),
        ({"probability": np.full(50, np.nan)}, "probability"),
        ({"outcome": np.full(50, np.inf)}, "finite"),
        ({"outcome": np.zeros(49)}, "one entry per customer"),
        ({"arms": np.full(50, 7)}, "position"),
        ({"features": {"age": [1]}}, "age has 1 values"),
    ],
)
def test_impossible_data_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        evaluate(shop(50, 1)._replace(**change))


def test_scores_are_right_even_where_the_models_are_wrong():
    """Known probabilities make up for any prediction; here one that is off by a thousand."""
    people = shop(50_000, 10, share=0.2)
    wrong = np.full((50_000, 2), 1000.0) + np.random.default_rng(1).normal(0, 1, (50_000, 2))
    right = np.array([[np.mean(people.outcome[people.arms == arm]) for arm in (0, 1)]]).repeat(50_000, axis=0)
    for expected in (wrong, right):
        gamma = aipw(expected, people.outcome, people.arms, people.probability)
        found = estimate(gamma[:, 1] - gamma[:, 0])
        assert abs(found.estimate - 0.10 * 27 / 62) < 4 * found.standard_error


def test_a_constant_policy_is_worth_the_mean_of_its_arm():
    """With the arm's own mean as prediction and exact shares the score's mean is the arm's mean, to the last digit."""
    people = shop(5000, 11)
    shares = np.bincount(people.arms) / 5000
    means = np.array([people.outcome[people.arms == arm].mean() for arm in (0, 1)])
    gamma = aipw(np.tile(means, (5000, 1)), people.outcome, people.arms, shares[people.arms])
    assert gamma.mean(axis=0) == pytest.approx(means, abs=1e-12)


def test_no_customer_is_predicted_by_a_model_that_saw_it():
    people = shop(2000, 12)
    design = encoding.encode(people.features, 2000)
    half = folds.held_out(folds.hashed(people.customers))
    before = learners.cross_fit(design.matrix, people.outcome, people.arms, 2, half).expected
    after = learners.cross_fit(design.matrix, np.where(half, 1 - people.outcome, people.outcome), people.arms, 2, half)
    assert (before[half] == after.expected[half]).all()
    assert not np.allclose(before[~half], after.expected[~half])


def test_halves_and_blocks_are_even_and_independent():
    found = folds.hashed(np.array([f"customer-{number}" for number in range(40_000)]))
    half = folds.held_out(found)
    assert abs(half.mean() - 0.5) < 0.01
    count = np.bincount(folds.blocks(found), minlength=folds.BLOCKS)
    assert ((count - 200) ** 2 / 200).sum() < 300  # chi-square with 199 degrees of freedom
    in_half = np.bincount(folds.blocks(found), half, folds.BLOCKS) / count
    assert abs(in_half - 0.5).max() < 0.2


@given(st.lists(st.text(st.characters(min_codepoint=1, exclude_categories=["Cs"]), min_size=1), min_size=1))
def test_the_hash_depends_on_the_id_alone(ids):
    together = folds.hashed(np.array(ids))
    alone = [int(folds.hashed(np.array([each]))[0]) for each in ids]
    assert together.tolist() == alone


def test_features_of_all_kinds_become_numbers():
    rows = [
        {"age": 30, "vip": True, "city": "Lyon", "score": 1.5, "tags": ["a"], "huge": 10**400, "x": 10**400},
        {"age": None, "vip": False, "city": "Gent", "score": 2},
        {"age": 50, "vip": True, "city": None, "score": "high"},
        {"age": 40, "vip": False, "city": "Lyon", "huge": 8},
    ]
    design = encoding.encode(columns_of(rows), 4)
    columns = dict(zip(design.names, design.matrix.T.tolist(), strict=True))
    assert columns == {
        "age is missing": [0, 1, 0, 0],
        "age": [30, 40, 50, 40],  # the gap takes the median
        "vip": [1, 0, 1, 0],
        "huge is missing": [1, 1, 1, 0],
        "city is missing": [0, 0, 1, 0],
        "city = Lyon": [1, 0, 0, 1],
        "city = Gent": [0, 1, 0, 0],
        "score is missing": [0, 0, 0, 1],
        "score = 1.5": [1, 0, 0, 0],
        "score = 2": [0, 1, 0, 0],
        "score = high": [0, 0, 1, 0],
    }


def test_rare_and_countless_categories_are_not_told_apart():
    values = ["common"] * 900 + ["other"] * 90 + [f"rare {number}" for number in range(10)]
    design = encoding.encode({"city": values, "constant": [1] * 1000}, 1000)
    assert design.names == ("city = common", "city = other")


def test_mail_order_customers_are_ranked_on_real_data():
    """Hillstrom: who should get the women's mailing is learnable from what they bought (visits, 64,000 customers)."""
    with gzip.open(real_data("hillstrom.csv.gz")) as file:
        rows = list(csv.DictReader(io.TextIOWrapper(file, "utf-8")))
    keys = ("No E-Mail", "Mens E-Mail", "Womens E-Mail")
    features = {name: [float(row[name]) for row in rows] for name in ("recency", "history", "mens", "womens", "newbie")}
    features |= {name: [row[name] for row in rows] for name in ("zip_code", "channel")}
    outcome = np.array([float(row["visit"]) for row in rows])
    arms = np.array([keys.index(row["segment"]) for row in rows])
    people = UpliftData(
        customers=np.array([str(number) for number in range(len(rows))]),
        arms=arms,
        arm_keys=keys,
        control="No E-Mail",
        outcome=outcome,
        probability=np.full(len(rows), 1 / 3),
        features=features,
    )
    mens, womens = evaluate(people).arms
    for position, arm in ((1, mens), (2, womens)):
        raw = outcome[arms == position].mean() - outcome[arms == 0].mean()
        assert arm.effect.estimate == pytest.approx(raw, abs=0.001)  # 7.66 and 4.52 points
    assert womens.winner == "t_learner"
    assert womens.models[0].qini.low > 0
    assert 0.003 < womens.models[0].qini.estimate < 0.012
    assert womens.importances[0].feature == "womens"
