"""What goes into an uplift readout, and what comes out."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from shared.contracts.base import JsonValue

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class UpliftData(NamedTuple):
    """One row per assigned customer, as arrays of one length n.

    Attributes
    ----------
    customers
        Ids; their hash decides the halves, so that rows may come in any order.
    arms
        Position in `arm_keys` of the arm each customer got.
    control
        The key of the arm that the others are compared with.
    outcome
        What was counted; 0 where nothing was.
    probability
        With which each customer got the arm it got, in (0, 1].
    features
        Columns frozen with the assignment: numbers, booleans, text, None where missing.
    strata
        Stratum of each customer where the split was stratified.
    cost
        Money for one contact, by arm key; arms not named cost nothing.
    value
        Money for one unit of outcome.
    """

    customers: NDArray[np.str_]
    arms: Integers
    arm_keys: tuple[str, ...]
    control: str
    outcome: Floats
    probability: Floats
    features: Mapping[str, Sequence[JsonValue]]
    strata: NDArray[np.str_] | None = None
    cost: Mapping[str, float] = {}
    value: float = 1.0


class Estimate(NamedTuple):
    """A figure with its standard error and two-sided 95 % interval; nan where it could not be estimated."""

    estimate: float
    standard_error: float
    low: float
    high: float


class ModelRanking(NamedTuple):
    """How well a model orders the customers of the held-out half, the most worth contacting first.

    Attributes
    ----------
    qini
        Area between the per-capita Qini curve and the line of random order, in outcome units per customer.
    auuc
        Area between the per-capita gain curve and the line of random order, in outcome units per customer.
    rate
        Area under the targeting operator characteristic with weights 1/q (AUTOC), in outcome units.
    curve
        (share contacted, gain per customer) at every twentieth.
    """

    name: str
    qini: Estimate
    auuc: Estimate
    rate: Estimate
    curve: tuple[tuple[float, float], ...]


class Importance(NamedTuple):
    """Mean change of the predicted effect, in outcome units, when the feature's values are dealt out anew."""

    feature: str
    importance: float


class ProfitPoint(NamedTuple):
    """Profit over contacting nobody, in money per customer, when the best `share` of customers is contacted."""

    share: float
    profit: float
    standard_error: float
    low: float
    high: float


class ArmUplift(NamedTuple):
    """One treatment arm against control. `effect` is the adjusted effect on all customers (AIPW)."""

    arm: str
    effect: Estimate
    models: tuple[ModelRanking, ...]
    winner: str
    importances: tuple[Importance, ...]
    profit: tuple[ProfitPoint, ...]
    scores: Floats


class Policy(NamedTuple):
    """A rule for whom to contact with what, valued on the held-out half in money per customer.

    `gain_over_all` and `gain_over_none` are paired differences to contacting everyone with the best arm, and nobody.
    """

    name: str
    share: float
    value: Estimate
    gain_over_all: Estimate
    gain_over_none: Estimate


class PolicyReadout(NamedTuple):
    """The policies side by side. `accepted` only where the learnt one is shown to earn more than contacting everyone."""

    policies: tuple[Policy, ...]
    accepted: bool
    verdict: str


class UpliftReadout(NamedTuple):
    """Everything about one experiment and metric. `held_out` customers judge what the others taught."""

    customers: int
    held_out: int
    arms: tuple[ArmUplift, ...]
    policy: PolicyReadout
