"""The decision: health above effects, guardrails above gains, and words instead of codes."""

from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest

from services.experiments import decision, money, readout
from shared.contracts.experiments import (
    Arm,
    Experiment,
    ExperimentMetrics,
    FrozenMetric,
    Method,
    Population,
    Split,
    State,
)
from shared.contracts.results import (
    ArmMoments,
    ArmSize,
    CheckStatus,
    Counted,
    Design,
    Effect,
    FixedHorizon,
    HealthCheck,
    Interval,
    MetricResult,
    Relative,
    Results,
    Verdict,
)

NOW = datetime(2026, 3, 20, tzinfo=UTC)
ARMS = [
    Arm(key="nobody", weight=0.5, control=True),
    Arm(key="mail", weight=0.5, cost_per_contact=Decimal("0.10")),
]


def experiment(**metrics) -> Experiment:
    named = ExperimentMetrics.model_validate({"primary": "orders", **metrics})
    return Experiment(
        id=UUID(int=1), key="try", name="try", hypothesis="h", state=State.RUNNING, campaign=None, target_list_id=None,
        population=Population.EXTERNAL, split=Split.HASH, arms=ARMS, metrics=named,
        measured=[FrozenMetric.model_validate(each) for each in named.measured(dict.fromkeys(named.names(), 1))],
        alpha=0.05, method=Method.GROUP_SEQUENTIAL, planned_size=None, seed="s", design_digest="d", created_at=NOW,
        started_at=NOW, stopped_at=None,
    )  # fmt: skip


def metric(
    key: str,
    role: str,
    verdict: str,
    effect=(0.02, 0.01, 0.03),
    *,
    kind="proportion",
    relative=(0.2, 0.1, 0.3),
    ended=False,
):
    estimate, low, high = effect
    return MetricResult(
        metric=key, version=1, name=None, kind=kind, role=role, direction="up", window_days=14,
        currency="EUR" if kind == "profit" else None, ended=ended,
        arms=[
            ArmMoments(arm=arm.key, n=1000, mature=1000, responders=100, mean=0.1, variance=0.09, total=100)
            for arm in ARMS
        ],
        effects=[
            Effect(
                arm="mail", against="nobody", absolute=Interval(estimate=estimate, low=low, high=high),
                relative=Relative(
                    estimate=relative[0], low=relative[1], high=relative[2], method="delta method", reason=None
                ),
                standard_error=0.005, p_value=0.001, fixed=FixedHorizon(low=low, high=high, p_value=0.001, label="x"),
                sequential=None, randomisation=None, adjusted_p_value=0.001, notes=[], verdict=Verdict(verdict),
            )
        ],
    )  # fmt: skip


def results(*metrics: MetricResult, status: str = "ok") -> Results:
    check = HealthCheck(
        check="sample_ratio", status=CheckStatus(status), figure=0.5, detail="Arms are 1 and 2.", advice="Find out why."
    )
    counted = Counted(position="1", until=NOW, pending_batches=0, refresh="incremental")
    return Results(
        experiment="try", name=None, hypothesis="h", state="running", as_of=NOW, counted=counted,
        method=Method.GROUP_SEQUENTIAL, design=Design.ONE_BLAST, alpha=0.05, arms=[], health=[check], look=None,
        metrics=list(metrics), money=[],
    )  # fmt: skip


def test_a_shown_gain_is_shipped():
    found = decision.decide(experiment(), results(metric("orders", "primary", "better")))
    assert (found.verdict, found.arm) == ("ship", "mail")
    assert found.reasons == ["Arm mail does better on orders than nobody: +2 percentage points (between +1 and +3)."]


@pytest.mark.parametrize(
    ("effect", "said"),
    [
        ((0.05888, 0.0211, 0.1), "+0.06 EUR per customer (between +0.02 and +0.10)"),
        ((0.0013, 0.0004, 0.0022), "+0.0013 EUR per customer (between +0.0004 and +0.0022)"),
    ],
)
def test_money_is_told_in_cents_and_more_exactly_only_where_it_would_read_zero(effect, said):
    gain = metric("orders", "primary", "better", effect, kind="profit").model_copy(update={"currency": "EUR"})
    assert decision.decide(experiment(), results(gain)).reasons[0].endswith(f"{said}.")


def test_a_failed_check_stands_above_a_shown_gain():
    found = decision.decide(experiment(), results(metric("orders", "primary", "better"), status="failed"))
    assert (found.verdict, found.arm, found.healthy) == ("stop", None, False)
    assert found.reasons[1] == "Arms are 1 and 2. Find out why."


def test_a_suffering_guardrail_stands_above_a_shown_gain():
    found = decision.decide(
        experiment(guardrails=["unsubscribes"]),
        results(
            metric("orders", "primary", "better"), metric("unsubscribes", "guardrail", "worse", (-0.01, -0.02, -0.005))
        ),
    )
    assert found.verdict == "keep_running"
    assert found.reasons[1].startswith("Guardrail unsubscribes suffers in arm mail: −1 percentage points")


@pytest.mark.parametrize(("low", "verdict"), [(-0.01, "ship"), (-0.03, "keep_running")])
def test_a_guardrail_with_a_margin_must_rule_out_a_larger_loss(low, verdict):
    guarded = experiment(guardrails=[{"metric": "visits", "margin": 0.02}])
    visits = metric("visits", "guardrail", "not_shown", relative=(0.0, low, 0.01))
    assert decision.decide(guarded, results(metric("orders", "primary", "better"), visits)).verdict == verdict


@pytest.mark.parametrize(
    ("verdict", "most", "shipped"), [("not_shown", 0.02, True), ("not_shown", 0.2, False), ("better", 0.01, False)]
)
def test_a_guardrail_holds_for_the_arm_that_others_are_compared_with_too(verdict, most, shipped):
    guarded = experiment(guardrails=[{"metric": "clicks", "margin": 0.05}])
    clicks = metric("clicks", "guardrail", verdict, relative=(0.0, -0.01, most))
    turned = clicks.effects[0].model_copy(update={"arm": "letter", "against": "mail"})
    clicks = clicks.model_copy(update={"effects": [turned]})
    found = decision.decide(guarded, results(metric("orders", "primary", "better"), clicks))
    assert (found.verdict == "ship") is shipped
    assert any("clicks" in reason and "in arm mail" in reason for reason in found.reasons) is not shipped


def test_a_gain_that_loses_money_is_not_shipped():
    profit = metric("profit", "secondary", "worse", (-0.05, -0.08, -0.02), kind="profit")
    found = decision.decide(experiment(secondary=["profit"]), results(metric("orders", "primary", "better"), profit))
    assert (found.verdict, found.arm) == ("keep_running", None)
    assert "Arm mail loses money: −0.05 EUR per customer (between −0.08 and −0.02)." in found.reasons


@pytest.mark.parametrize(
    ("verdict", "expected"), [("worse", "stop"), ("not_shown", "keep_running"), ("too_few", "keep_running")]
)
def test_what_is_not_shown_is_not_shipped(verdict, expected):
    found = decision.decide(experiment(), results(metric("orders", "primary", verdict)))
    assert (found.verdict, found.arm) == (expected, None)


def test_a_guardrail_that_cannot_be_judged_is_objected_to_and_what_is_never_compared_is_no_end():
    primary = metric("orders", "primary", "better", ended=True)
    unseen = metric("unsubscribes", "guardrail", "not_shown").model_copy(update={"effects": []})
    found = decision.decide(experiment(guardrails=["unsubscribes"]), results(primary, unseen))
    assert (found.verdict, found.arm) == ("stop", None)
    assert any("unsubscribes cannot be judged in arm mail" in reason for reason in found.reasons)
    found = decision.decide(experiment(), results(primary.model_copy(update={"effects": []})))
    assert (found.verdict, "Nothing is compared on orders" in found.reasons[0]) == ("stop", True)
    assert not any("The end is reached" in reason for reason in found.reasons)
    assert not readout._ended(experiment(), "orders", [], None)


def test_at_the_end_the_reasons_do_not_contradict_each_other():
    primary = metric("orders", "primary", "better", ended=True)
    guardrail = metric("unsubscribes", "guardrail", "worse", (-0.01, -0.02, -0.005), ended=True)
    found = decision.decide(experiment(guardrails=["unsubscribes"]), results(primary, guardrail))
    assert (found.verdict, found.arm) == ("stop", None)
    assert found.reasons[-1] == "The end is reached: what is shown better is objected to."


def test_before_the_end_an_objection_may_still_go_away():
    primary = metric("orders", "primary", "better", ended=True)
    guardrail = metric("unsubscribes", "guardrail", "worse", (-0.01, -0.02, -0.005))
    found = decision.decide(experiment(guardrails=["unsubscribes"]), results(primary, guardrail))
    assert (found.verdict, found.reasons[-1]) == (
        "keep_running", "More customers or time may still remove the objection.",
    )  # fmt: skip


@pytest.mark.parametrize(("state", "ended", "verdict"), [("stopped", True, "stop"), ("stopped", False, "keep_running")])
def test_what_was_stopped_and_is_wholly_mature_is_not_to_be_kept_running(state, ended, verdict):
    found = results(metric("orders", "primary", "not_shown", ended=ended)).model_copy(update={"state": state})
    decided = decision.decide(experiment(), found)
    assert decided.verdict == verdict
    assert ("Windows that are still open may still show it." in decided.reasons) is not ended


def test_money_scales_the_effect_by_the_arms_customers():
    size = ArmSize(arm="mail", control=False, contact=True, weight=0.5, assigned=1000, contacts=1000)
    control = size.model_copy(update={"arm": "nobody", "control": True, "contact": False, "contacts": 0})
    measured = [
        metric("orders", "primary", "better"),
        metric("profit", "secondary", "better", (0.3, 0.1, 0.5), kind="profit"),
    ]
    (brought,) = money.money(experiment(secondary=["profit"]), [control, size], measured)
    assert brought.incremental_profit == Interval(estimate=300, low=100, high=500)
    assert brought.incremental_responses == Interval(estimate=20, low=10, high=30)
    assert brought.cost == Decimal("100.00")
    assert brought.cost_per_incremental_response == Interval(estimate=5, low=100 / 30, high=10)


def test_the_price_of_a_response_has_no_upper_end_while_none_is_shown():
    size = ArmSize(arm="mail", control=False, contact=True, weight=0.5, assigned=1000, contacts=1000)
    orders = metric("orders", "primary", "not_shown", (0.01, -0.01, 0.03))
    (brought,) = money.money(experiment(), [size], [orders])
    assert brought.cost_per_incremental_response == Interval(estimate=10, low=100 / 30, high=None)
    assert brought.incremental_profit == Interval(estimate=None, low=None, high=None)
    assert brought.note == "no profit metric is measured; more responses are not shown, so their cost has no upper end"
