"""How large a number may be that is counted or compared. Pure."""

LARGEST = 1e20
"""Beyond it in either direction no number is taken: squares and cubes of it, added up over everybody, stay within a
double (1.8e308), so that no single value can make a figure of all customers impossible."""


def is_countable(value: float) -> bool:
    """Whether a number is small enough to be counted and compared; whole ones of any length may be asked about.

    >>> is_countable(-1e20), is_countable(10**400)
    (True, False)
    """
    return -LARGEST <= value <= LARGEST
