"""An experiment to show: three arms, two looks' worth of history, money, a policy and a funnel."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import sqrt
from uuid import UUID

from services.experiments.report import Report
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
from shared.contracts.metrics import Direction, MetricKind
from shared.contracts.policies import Importance, Policy, PolicyPoint, PolicyValue, RankingQuality, Uplift
from shared.contracts.results import (
    ArmMoments,
    ArmMoney,
    ArmSize,
    CheckStatus,
    Counted,
    Decision,
    DecisionVerdict,
    Design,
    Effect,
    FixedHorizon,
    HealthCheck,
    History,
    Interval,
    MetricResult,
    MetricRole,
    Randomisation,
    Relative,
    Results,
    Sequential,
    SeriesPoint,
    Verdict,
)
from shared.contracts.targeting import FunnelStep

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
END = START + timedelta(days=14)
ARMS = ("nothing", "spring-catalogue", "voucher-10")


def experiment(**changes: object) -> Experiment:
    found = Experiment(
        id=UUID(int=7),
        key="spring-2026",
        name="Spring catalogue or voucher?",
        hypothesis="A voucher of ten per cent brings back customers who have not bought since autumn; a catalogue does "
        "so at a lower cost.",
        state=State.STOPPED,
        campaign="spring",
        target_list_id=UUID(int=8),
        population=Population.LIST,
        split=Split.EXACT,
        arms=[
            Arm(key=ARMS[0], weight=0.2, control=True),
            Arm(key=ARMS[1], weight=0.4, cost_per_contact=Decimal("0.85")),
            Arm(key=ARMS[2], weight=0.4, cost_per_contact=Decimal("0.05")),
        ],
        metrics=ExperimentMetrics(primary="ordered", secondary=["revenue"], guardrails=[]),
        measured=[
            FrozenMetric(key="ordered", version=1, role=MetricRole.PRIMARY),
            FrozenMetric(key="revenue", version=1, role=MetricRole.SECONDARY),
        ],
        alpha=0.05,
        method=Method.GROUP_SEQUENTIAL,
        planned_size=None,
        seed="abc",
        design_digest="5f2ac9d1e6b7a8900c",
        created_at=START,
        started_at=START,
        stopped_at=END,
    )
    return found.model_copy(update=changes)


def effect(arm: str, estimate: float, half: float, narrow: float, verdict: Verdict, **changes: object) -> Effect:
    found = Effect(
        arm=arm,
        against=ARMS[0],
        absolute=Interval(estimate=estimate, low=estimate - half, high=estimate + half),
        relative=Relative(
            estimate=estimate * 20, low=(estimate - half) * 20, high=(estimate + half) * 20, method="delta", reason=None
        ),
        standard_error=narrow / 1.96,
        p_value=0.0123,
        fixed=FixedHorizon(
            low=estimate - narrow, high=estimate + narrow, p_value=0.0045, label="valid only at the planned end"
        ),
        sequential=Sequential(
            low=estimate - half,
            high=estimate + half,
            p_value=0.0123,
            method="group sequential",
            overstated=False,
            as_of=END,
            look=14,
        ),
        randomisation=None,
        adjusted_p_value=0.0246,
        notes=[],
        verdict=verdict,
    )
    return found.model_copy(update=changes)


def metric(
    key: str, kind: MetricKind, role: MetricRole, effects: list[Effect], means: tuple[float, ...]
) -> MetricResult:
    return MetricResult(
        metric=key,
        version=1,
        name=None,
        kind=kind,
        role=role,
        direction=Direction.UP,
        window_days=14,
        currency="EUR" if kind is MetricKind.REVENUE else None,
        arms=[
            ArmMoments(
                arm=arm,
                n=n,
                mature=n,
                responders=round(0.05 * n),
                mean=mean,
                variance=mean,
                total=round(mean * n, 2),
            )
            for arm, n, mean in zip(ARMS, (12_800, 25_600, 25_600), means, strict=True)
        ],
        effects=effects,
    )


def results(**changes: object) -> Results:
    found = Results(
        experiment="spring-2026",
        name="Spring catalogue or voucher?",
        hypothesis="…",
        state="stopped",
        as_of=END,
        counted=Counted(position="812", until=END, pending_batches=0, refresh="incremental", agrees=None),
        method=Method.GROUP_SEQUENTIAL,
        design=Design.ONE_BLAST,
        alpha=0.05,
        arms=[
            ArmSize(arm=ARMS[0], control=True, contact=False, weight=0.2, assigned=12_800, contacts=0),
            ArmSize(arm=ARMS[1], control=False, contact=True, weight=0.4, assigned=25_600, contacts=25_600),
            ArmSize(arm=ARMS[2], control=False, contact=True, weight=0.4, assigned=25_600, contacts=25_600),
        ],
        health=[
            HealthCheck(
                check="exact_counts",
                status=CheckStatus.OK,
                figure=0.0,
                detail="An exact split gives [12800, 25600, 25600]; there are the same.",
                advice="Nothing to do.",
            ),
            HealthCheck(
                check="responses_before_start",
                status=CheckStatus.WARNING,
                figure=41.0,
                detail="41 events speak of this experiment and happened before their customer's t0.",
                advice="Check t0 against the real sending time, and the clocks of what sends events.",
            ),
        ],
        look=None,
        metrics=[
            metric(
                "ordered",
                MetricKind.PROPORTION,
                MetricRole.PRIMARY,
                [
                    effect(ARMS[1], 0.0034, 0.0061, 0.0046, Verdict.NOT_SHOWN),
                    effect(ARMS[2], 0.0128, 0.0062, 0.0047, Verdict.BETTER),
                ],
                (0.05, 0.0534, 0.0628),
            ),
            metric(
                "revenue",
                MetricKind.REVENUE,
                MetricRole.SECONDARY,
                [
                    effect(
                        ARMS[1],
                        0.31,
                        0.55,
                        0.42,
                        Verdict.NOT_SHOWN,
                        randomisation=Randomisation(p_value=0.1405, draws=2000),
                    ),
                    effect(ARMS[2], -0.92, 0.71, 0.55, Verdict.WORSE),
                ],
                (3.1, 3.41, 2.18),
            ),
        ],
        money=[
            ArmMoney(
                arm=ARMS[1],
                currency="EUR",
                incremental_profit=Interval(estimate=-13_400.0, low=-21_000.5, high=-5_800.25),
                incremental_responses=Interval(estimate=87.0, low=-69.0, high=243.0),
                contacts=25_600,
                cost=Decimal("21760.00"),
                cost_per_incremental_response=Interval(estimate=None, low=89.55, high=None),
                note="The effect's interval includes zero, so this cost has no upper end.",
            ),
            ArmMoney(
                arm=ARMS[2],
                currency="EUR",
                incremental_profit=Interval(estimate=4_120.0, low=1_050.0, high=7_190.0),
                incremental_responses=Interval(estimate=328.0, low=169.0, high=486.0),
                contacts=25_600,
                cost=Decimal("1280.00"),
                cost_per_incremental_response=Interval(estimate=3.9, low=2.63, high=7.57),
            ),
        ],
    )
    return found.model_copy(update=changes)


def decision(**changes: object) -> Decision:
    found = Decision(
        experiment="spring-2026",
        as_of=END,
        verdict=DecisionVerdict.SHIP,
        arm=ARMS[2],
        healthy=True,
        reasons=[
            "Arm voucher-10 does better on ordered than nothing: +1.28 percentage points (between +0.66 and +1.9).",
            "Arm spring-catalogue is not shown to differ on ordered from nothing: +0.34 percentage points (between "
            "-0.27 and +0.95).",
        ],
    )
    return found.model_copy(update=changes)


def history() -> History:
    final = {ARMS[1]: 0.0034, ARMS[2]: 0.0128}
    return History(
        experiment="spring-2026",
        points=[
            SeriesPoint(
                look=day,
                as_of=START + timedelta(days=day),
                metric="ordered",
                arm=arm,
                estimate=value * (1 - 0.8**day) if day > 1 else None,
                low=value * (1 - 0.8**day) - 0.014 / sqrt(day / 2) if day > 1 else None,
                high=value * (1 - 0.8**day) + 0.014 / sqrt(day / 2) if day > 1 else None,
                p_value=1 / day**2 if day > 1 else None,
            )
            for arm, value in final.items()
            for day in range(1, 15)
        ],
    )


def policy(**changes: object) -> Policy:
    shares = [step / 20 for step in range(21)]
    curve = [0.42 * share - 0.31 * share**2 for share in shares]
    found = Policy(
        experiment="spring-2026",
        metric="revenue",
        arm=ARMS[2],
        against=ARMS[0],
        as_of=END,
        curve=[
            PolicyPoint(
                share=share,
                value=Interval(estimate=value, low=value - 0.06 * sqrt(share), high=value + 0.06 * sqrt(share)),
            )
            for share, value in zip(shares, curve, strict=True)
        ],
        policies=[
            PolicyValue(
                policy=name, share_contacted=share, value=Interval(estimate=value, low=value - 0.05, high=value + 0.05)
            )
            for name, share, value in (
                ("learned", 0.63, 0.1415),
                ("response_model", 0.63, 0.1212),
                ("contact_all", 1.0, 0.11),
                ("contact_none", 0.0, 0.0),
            )
        ],
        best_share=0.7,
        gain_over_contact_all=Interval(estimate=0.0315, low=0.0121, high=0.0509),
        accepted=True,
        reason="Contacting the 63% of customers whose predicted effect pays for the contact earns more than contacting "
        "everyone: +0.0315 per customer, on customers it was not learnt from.",
    )
    return found.model_copy(update=changes)


def uplift(**changes: object) -> Uplift:
    def quality(learner: str, scale: float) -> RankingQuality:
        found = [Interval(estimate=scale * x, low=scale * x * 0.6, high=scale * x * 1.4) for x in (0.08, 0.079, 0.21)]
        return RankingQuality(learner=learner, qini=found[0], auuc=found[1], rate=found[2])

    found = Uplift(
        experiment="spring-2026",
        metric="revenue",
        arm=ARMS[2],
        against=ARMS[0],
        as_of=END,
        grown_on=31_950,
        held_out=32_050,
        average_effect=Interval(estimate=0.31, low=0.12, high=0.5),
        learners=[quality("t_learner", 1.0), quality("response_model", 0.6)],
        winner="t_learner",
        importances=[
            Importance(feature="recency_days", importance=0.41),
            Importance(feature="age", importance=0.22),
            Importance(feature="city", importance=0.05),
        ],
        definition="Qini: area between the per-capita curve and random order, ties averaged.",
        reason=None,
    )
    return found.model_copy(update=changes)


FUNNEL = [
    FunnelStep(step="matched", count=88_210, removed=0),
    FunnelStep(step="reachable", count=81_004, removed=7_206),
    FunnelStep(step="permitted", count=70_412, removed=10_592),
    FunnelStep(step="not suppressed", count=70_118, removed=294),
    FunnelStep(step="ranked and limited", count=64_000, removed=6_118),
]


def report(**changes: object) -> Report:
    return Report(experiment(), results(), decision(), history(), (uplift(),), (policy(),), FUNNEL)._replace(**changes)
