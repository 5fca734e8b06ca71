"""What contacting some instead of all would have earned, on customers the models did not learn from."""

import numpy as np
from numpy.typing import NDArray

from services.experiments.signs import minus
from services.experiments.uplift.data import Estimate, Floats, Policy, ProfitPoint
from services.experiments.uplift.ranking import TWENTIETHS
from services.experiments.uplift.scores import estimate


def profit_curve(scores: Floats, worth: Floats) -> tuple[ProfitPoint, ...]:
    """Profit over contacting nobody when the best-ranked share is contacted, at every twentieth.

    `worth` is the unbiased score of what contacting a customer earns after its cost. Ties share their worth equally, so
    a customer may be contacted in part; the intervals are for one share at a time.
    """
    values, position = np.unique(-scores, return_inverse=True)
    count = np.bincount(position)
    end = np.cumsum(count) / len(scores)
    start = end - count / len(scores)
    points = []
    for share in TWENTIETHS:
        contacted = np.clip((share - start) / (end - start), 0, 1)[position]
        points.append(ProfitPoint(float(share), *estimate(contacted * worth)))
    return tuple(points) if len(values) else ()


def policies(pays: NDArray[np.bool_], response: Floats, worth: Floats) -> tuple[tuple[Policy, ...], Estimate]:
    """The four policies, and what the learned one earns over contacting everyone.

    Parameters
    ----------
    pays
        Whether each customer's predicted effect pays for the contact.
    response
        Predicted response when contacted, in outcome units, more being better.
    worth
        Unbiased scores of what contacting each customer earns after its cost, in money.
    """
    likeliest = np.zeros(len(response))
    likeliest[np.argsort(-response, kind="stable")[: int(pays.sum())]] = 1.0
    chosen = {
        "learned": pays.astype(np.float64),
        "response_model": likeliest,
        "contact_all": np.ones(len(worth)),
        "contact_none": np.zeros(len(worth)),
    }
    found = tuple(Policy(name, float(each.mean()), estimate(each * worth)) for name, each in chosen.items())
    return found, estimate((chosen["learned"] - 1) * worth)


def verdict(gain: Estimate, share: float) -> tuple[bool, str]:
    """Whether to use the learned policy, and why, in words."""
    middle, low, high = (minus(f"{each:+.4g}") for each in (gain.estimate, gain.low, gain.high))
    spread = f"{middle} per customer (95 % interval {low} to {high})"
    if share == 1:
        return False, "The learned policy contacts everyone: no customer's predicted effect falls short of the cost."
    if gain.low > 0:
        return True, (
            f"Contacting the {share:.0%} of customers whose predicted effect pays for the contact brings more than "
            f"contacting everyone: {spread}, on customers it was not learnt from."
        )
    if gain.high < 0:
        return False, (
            f"Rejected: the learned policy loses to contacting everyone, {spread}. It leaves out customers whom "
            "contacting pays."
        )
    return False, f"Not shown to beat contacting everyone: {spread}. Contact everyone, or collect more data."
