"""How many customers an effect needs, at the planned end."""

from math import ceil, sqrt

from scipy.special import ndtri


def standard_error(variance: float, control_size: int, treatment_size: int) -> float:
    """Standard error of the difference when both arms have this variance: what a design freezes at its start.

    >>> round(standard_error(0.01, 500, 500), 6)
    0.006325
    """
    if control_size < 1 or treatment_size < 1 or not variance >= 0:
        raise ValueError(f"variance {variance} with {control_size} and {treatment_size} customers")
    return sqrt(variance / control_size + variance / treatment_size)


def required_size(
    effect: float, variance: float, control_share: float, *, alpha: float = 0.05, power: float = 0.8
) -> int:
    """Customers in both arms together for a two-sided test to find an effect with this power.

    Parameters
    ----------
    effect, variance
        Difference in means and variance of one customer, in the metric's unit and its square.
    control_share
        Of the two arms' customers, between 0 and 1.

    Source: Fleiss, Levin & Paik (2003), chapter 4. One point more than 10 %, with halves:

    >>> required_size(0.01, 0.1 * 0.9, 0.5)
    28256
    """
    _check(alpha, power, control_share)
    if not effect:
        raise ValueError("no number of customers finds an effect of zero")
    quantiles = float(ndtri(1 - alpha / 2) + ndtri(power))
    return ceil((quantiles / effect) ** 2 * variance / (control_share * (1 - control_share)))


def detectable_effect(
    variance: float, control_size: int, treatment_size: int, *, alpha: float = 0.05, power: float = 0.8
) -> float:
    """The smallest effect that a two-sided test finds with this power, in the metric's unit.

    >>> round(detectable_effect(0.1 * 0.9, 14_128, 14_128), 4)
    0.01
    """
    _check(alpha, power, 0.5)
    return float(ndtri(1 - alpha / 2) + ndtri(power)) * standard_error(variance, control_size, treatment_size)


def _check(alpha: float, power: float, share: float) -> None:
    if not (0 < alpha < 1 and 0 < power < 1 and 0 < share < 1):
        raise ValueError("alpha, power and share must be between 0 and 1")
