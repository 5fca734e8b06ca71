"""Simulated campaigns, without any effect unless a lift is asked for: who responds does so whatever their arm.

Customers come in strata that respond at different rates; only those who respond at all are held as rows.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]
Truths = npt.NDArray[np.bool_]

STRATA = np.array([0.4, 0.3, 0.2, 0.1])  # shares of the customers
APPETITE = np.array([0.4, 0.8, 1.6, 2.8])  # of the average rate
APPETITE = APPETITE / (STRATA @ APPETITE)
SPEND = (3.5, 1.2)  # log-normal: median 33, mean 68, skewness 11
FURTHER_ORDERS = 0.4
REFUNDED = 0.08
DELAY = 4.0  # days from sending to response, exponential within the window
ARRIVAL = 0.5  # days from response to arrival, exponential


class Campaign(NamedTuple):
    """The shape of an experiment. `lift` is the share of responders who respond only in the treatment arm, `loss` of
    those who respond only in the control.
    """

    customers: int
    rate: float
    control_share: float
    exact: bool
    money: bool
    lift: float = 0.0
    loss: float = 0.0


class Responders(NamedTuple):
    """Those who respond. `sizes` are customers by stratum (and cohort) and arm, control first, shape (s, 2)."""

    sizes: Whole
    stratum: Whole
    control: Truths

    @property
    def count(self) -> int:
        return int(self.stratum.size)


class Events(NamedTuple):
    """What responders did: whose event, days from sending to it, from sending to its arrival, and what it is worth."""

    responder: Whole
    occurred: Array
    arrived: Array
    worth: Array

    def values(self, count: int, which: Truths) -> Array:
        """Value of each responder from some of the events, shape (count,)."""
        return np.bincount(self.responder[which], weights=self.worth[which], minlength=count)


def responders(rng: np.random.Generator, campaign: Campaign, sizes: Whole, rates: Array) -> Responders:
    """Deal customers to arms, then let them respond: exact counts within each stratum, or each by itself."""
    responding = rng.binomial(sizes, rates)
    if campaign.exact:
        control_sizes = np.round(sizes * campaign.control_share).astype(np.int64)
        control_responding = rng.hypergeometric(responding, sizes - responding, control_sizes)
    else:
        control_responding = rng.binomial(responding, campaign.control_share)
        control_sizes = control_responding + rng.binomial(sizes - responding, campaign.control_share)
    stratum = np.repeat(np.arange(sizes.size), responding)
    place = np.arange(stratum.size) - np.repeat(np.cumsum(responding) - responding, responding)
    control = place < control_responding[stratum]
    stays = rng.random(control.size) >= np.where(control, campaign.lift, campaign.loss)
    return Responders(np.stack([control_sizes, sizes - control_sizes], axis=1), stratum[stays], control[stays])


def events(rng: np.random.Generator, campaign: Campaign, count: int, window: float) -> Events:
    """One response each, or with money: orders of skewed worth, some repeated, some refunded, all within the window."""
    orders = 1 + rng.poisson(FURTHER_ORDERS, count) if campaign.money else np.ones(count, dtype=np.int64)
    responder = np.repeat(np.arange(count), orders)
    occurred = _delays(rng, responder.size, window)
    worth = rng.lognormal(*SPEND, responder.size) if campaign.money else np.ones(responder.size)
    if campaign.money:
        back = np.flatnonzero(rng.random(responder.size) < REFUNDED)
        responder = np.concatenate([responder, responder[back]])
        occurred = np.concatenate([occurred, rng.uniform(occurred[back], window)])
        worth = np.concatenate([worth, -worth[back]])
    return Events(responder, occurred, occurred + rng.exponential(ARRIVAL, responder.size), worth)


def _delays(rng: np.random.Generator, size: int, window: float) -> Array:
    """Exponential days, given that they fall within the window."""
    found: Array = -DELAY * np.log1p(-rng.random(size) * -np.expm1(-window / DELAY))
    return found
