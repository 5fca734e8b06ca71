"""Scores whose mean is the effect whatever the models are worth, because the probabilities are known."""

import numpy as np

from services.experiments.uplift.data import Estimate, Floats, Integers

Z = 1.959963984540054  # the 97.5 % quantile of the normal distribution


def aipw(expected: Floats, outcome: Floats, arms: Integers, probability: Floats) -> Floats:
    """Array (customers, arms): what each customer would have done in each arm, without bias.

    Γ_a = μ̂_a(x) + 1{A = a}·(y − μ̂_a(x)) / e, with μ̂ fitted on other customers and e the known probability of the arm
    received (Robins, Rotnitzky and Zhao 1994; cross-fitted as in Chernozhukov et al. 2018).
    """
    found = expected.copy()
    rows = np.arange(len(outcome))
    found[rows, arms] += (outcome - expected[rows, arms]) / probability
    return found


def estimate(each: Floats) -> Estimate:
    """Mean of one figure per customer, with standard error and 95 % interval; nan below two customers."""
    if len(each) < 2:
        return Estimate(*[float("nan")] * 4)
    return interval(float(each.mean()), float(each.std(ddof=1) / np.sqrt(len(each))))


def interval(value: float, standard_error: float) -> Estimate:
    """Normal 95 % interval."""
    return Estimate(value, standard_error, value - Z * standard_error, value + Z * standard_error)
