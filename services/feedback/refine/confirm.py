"""The check on the other half."""
from math import pi


def allowance(alpha: float, attempt: int) -> float:
    """What attempt j of an experiment may spend: 6α/(π²j²), which sums to α over all attempts ever made."""
    if attempt < 1:
        raise ValueError("Attempts count from 1.")
    return 6 * alpha / (pi * attempt) ** 2
