"""Whom to contact next time: uplift by customer and what a policy is worth (experiments service)."""

from typing import Literal

from shared.contracts.base import Instant, Message
from shared.contracts.results import Interval


class RankingQuality(Message):
    """How well a learner ranks, on the held-out half: per-capita Qini with ties averaged, area under the per-capita
    gain minus random, and RATE (Yadlowsky et al. 2021), with half-sample bootstrap intervals."""

    learner: str
    qini: Interval
    auuc: Interval
    rate: Interval


class Importance(Message):
    feature: str
    importance: float


class Uplift(Message):
    """Individual effects of one arm against the control on one metric."""

    experiment: str
    metric: str
    arm: str
    against: str
    as_of: Instant
    grown_on: int
    held_out: int
    average_effect: Interval
    learners: list[RankingQuality]
    winner: str | None
    importances: list[Importance]
    definition: str
    reason: str | None


class PolicyPoint(Message):
    """Contact this share of customers, best ranked first: incremental value per customer of the whole list."""

    share: float
    value: Interval


class PolicyValue(Message):
    """`value` is per customer of the list, net of contact cost, against contacting nobody."""

    policy: Literal["learned", "response_model", "contact_all", "contact_none"]
    share_contacted: float
    value: Interval


class Policy(Message):
    """Profit by share contacted, and whether the learned policy beats contacting everybody (paired, held-out)."""

    experiment: str
    metric: str
    arm: str
    against: str
    as_of: Instant
    curve: list[PolicyPoint]
    policies: list[PolicyValue]
    best_share: float | None
    gain_over_contact_all: Interval
    accepted: bool
    reason: str
