"""What goes into an uplift readout, and what comes out."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from shared.contracts.base import JsonValue

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

DEFINITION = (
    "On the half of the customers (by hash) that the models did not see. Gain: share x (mean if contacted - mean if "
    "not) among the best-ranked share, weighted by inverse probability. AUUC: area under the gain less that of random "
    "order. Qini: area between (contacted total - control total x ratio of sizes) / contacted customers and random "
    "order. RATE: mean over all shares q of the effect among the top q less the effect among all (AIPW; weights 1/q). "
    "All per customer, ties averaged; 95 % intervals by half-sample bootstrap."
)


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
        What was counted, 0 where nothing was; profit is net of what the customer's arm costs.
    probability
        With which each customer got the arm it got, in (0, 1].
    features
        Columns frozen with the assignment: numbers, booleans, text, None where missing.
    strata
        Stratum of each customer where the split was stratified.
    cost
        Money for one contact, by arm key, where `outcome` is not net of it; arms not named cost nothing. What counts
        is what an arm costs more than the control.
    value
        Money for one unit of outcome; negative where less is better.
    responded
        Who did anything that was counted; without it, those whose outcome is not 0.
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
    responded: NDArray[np.bool_] | None = None


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


class Policy(NamedTuple):
    """A rule for whom to contact, valued on the held-out half: money per customer over contacting nobody."""

    name: str
    share: float
    value: Estimate


class ArmUplift(NamedTuple):
    """One treatment arm against the control.

    Attributes
    ----------
    effect
        The adjusted effect on all customers (AIPW), in outcome units.
    models
        The learner of effects and the response model, judged on the held-out half.
    winner
        The name of the one that ranks better (RATE); its order is that of `profit`. None where nothing was judged.
    importances
        Of the features, for the predicted effect; the largest first.
    profit
        Profit by share contacted, in steps of a twentieth.
    best_share
        The share at which `profit` is largest.
    policies
        Named `learned` (contact where the predicted effect pays for the contact), `response_model` (the same share,
        those likeliest to respond), `contact_all`, `contact_none`.
    gain_over_all
        What the learned policy earns over contacting everyone, paired, in money per customer.
    accepted, verdict
        Whether that is shown to be more than nothing, and what to make of it in words.
    scores
        Predicted effect of each customer, learnt from the half that the customer is not in.
    reason
        Why there is no ranking and no policy, or None.
    """

    arm: str
    effect: Estimate
    models: tuple[ModelRanking, ...]
    winner: str | None
    importances: tuple[Importance, ...]
    profit: tuple[ProfitPoint, ...]
    best_share: float
    policies: tuple[Policy, ...]
    gain_over_all: Estimate
    accepted: bool
    verdict: str
    scores: Floats
    reason: str | None = None


class UpliftReadout(NamedTuple):
    """Everything about one experiment and metric. The `held_out` customers judge what the `grown_on` ones taught."""

    customers: int
    grown_on: int
    held_out: int
    arms: tuple[ArmUplift, ...]
