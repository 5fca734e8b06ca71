"""How precise a design will be at its planned end."""

from math import sqrt


def standard_error(variance: float, control_size: int, treatment_size: int) -> float:
    """Standard error of the difference when both arms have this variance: what a design freezes at its start.

    >>> round(standard_error(0.01, 500, 500), 6)
    0.006325
    """
    if control_size < 1 or treatment_size < 1 or not variance >= 0:
        raise ValueError(f"variance {variance} with {control_size} and {treatment_size} customers")
    return sqrt(variance / control_size + variance / treatment_size)
