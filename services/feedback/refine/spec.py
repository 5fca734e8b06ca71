"""What is asked of a refinement, and what it answers."""

from enum import StrEnum
from typing import NamedTuple

from services.feedback.refine.cells import Coding
from shared.contracts.base import JsonValue


class Arm(NamedTuple):
    """An arm. `cost` of one contact is in the unit of the metric, 0 where the metric already nets it."""

    key: str
    control: bool = False
    cost: float = 0.0


class Spec(NamedTuple):
    """The question, declared before the confirm half is looked at.

    Attributes
    ----------
    arms
        In the order that the cells' arm positions refer to; exactly one is the control, which is not contacted.
    codings
        What the columns of the cells' codes mean.
    current
        The segment as it stands: a reference such as `{"segment": "vip"}`, or a definition.
    metric
        Name of the one metric that decides, for the words.
    money
        Whether the metric is an amount of money: then each arm of the confirm half needs 100 responders, else 25.
    net
        Whether the metric already nets the cost of contact (profit).
    direction
        "up" where more is better.
    attempt
        Which proposal of this experiment this is, from 1: each later one gets a smaller share of `alpha`.
    alpha
        Chance, over all proposals ever made for the experiment, of proposing a rule that is no better.
    problems
        Sentences for each health check that failed; any of them stops the refinement.
    """

    arms: tuple[Arm, ...]
    codings: tuple[Coding, ...]
    current: dict[str, JsonValue]
    metric: str
    money: bool = False
    net: bool = False
    direction: str = "up"
    attempt: int = 1
    alpha: float = 0.05
    problems: tuple[str, ...] = ()


class Verdict(StrEnum):
    """What came out. Everything but `PROPOSE` proposes nothing."""

    PROPOSE = "propose"
    UNHEALTHY = "unhealthy"  # a health check failed, so no figure can be trusted
    TOO_FEW = "too-few"  # too few customers or responders to learn from
    NO_RULE = "no-rule"  # the search found nothing that beats treating everyone alike
    NOT_CONFIRMED = "not-confirmed"  # where it was checked it was not better, or too few responded to tell


class Gain(NamedTuple):
    """How much the proposed rule earns over another policy, in the metric's unit per customer of the segment.

    `grow` is where it was searched (too rosy), `confirm` where it was checked once, with its standard error and
    simultaneous one-sided bound `low`; `shrunken` is what to forecast with.
    """

    against: str
    grow: float
    confirm: float
    standard_error: float
    low: float
    shrunken: float


class Group(NamedTuple):
    """The customers kept or dropped, on the confirm half: net effect of contacting one of them (after its cost).

    `low` and `high` are the simultaneous one-sided bounds; `of_both_halves` counts the customers of the grow half too.
    """

    kept: bool
    rule: str
    share: float
    customers: int
    of_both_halves: int
    grow: float
    confirm: float
    standard_error: float
    low: float
    high: float
    shrunken: float


class Proposal(NamedTuple):
    """The answer. Where nothing was searched or found, all that tells of a rule is empty.

    Attributes
    ----------
    summary
        The verdict as sentences for a marketer.
    definition
        The segment's next version in the segment language; None unless the verdict is to propose.
    clauses
        What it adds to the version as it stands.
    rule
        Who is kept, in words (also for a rule that was not confirmed).
    arms
        Whose contacts the rule was learnt from: one treatment, or all of them mixed in equal parts.
    gains
        Over the current version, and over the best policy that treats everyone alike.
    groups
        The kept, then the dropped.
    rules_tried
        How many rules the search compared.
    alpha
        What this attempt was allowed to spend.
    detectable
        The smallest net effect per customer among a fifth of the customers that the confirmation finds four times in
        five, in the metric's unit: what is smaller stays unseen. Not a number where nothing was searched.
    """

    verdict: Verdict
    summary: str
    definition: dict[str, JsonValue] | None
    clauses: tuple[dict[str, JsonValue], ...]
    rule: str | None
    arms: tuple[str, ...]
    gains: tuple[Gain, ...]
    groups: tuple[Group, ...]
    rules_tried: int
    attempt: int
    alpha: float
    grow_customers: int
    confirm_customers: int
    detectable: float
