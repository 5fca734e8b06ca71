"""How large a number may be that is counted or compared, and how one is written. Pure."""

import re

LARGEST = 1e20
"""Beyond it in either direction no number is taken: squares and cubes of it, added up over everybody, stay within a
double (1.8e308), so that no single value can make a figure of all customers impossible."""


def is_countable(value: float) -> bool:
    """Whether a number is small enough to be counted and compared; whole ones of any length may be asked about.

    >>> is_countable(-1e20), is_countable(10**400)
    (True, False)
    """
    return -LARGEST <= value <= LARGEST


_DECIMAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def is_decimal(text: str) -> bool:
    """Whether a text is a number as files write it: digits 0 to 9, with a sign, a point and an exponent perhaps.

    Python reads more as numbers: `1_000`, other scripts' digits, blanks around. Nobody who sends that means a number.

    >>> is_decimal("-12.50"), is_decimal("1_000"), is_decimal(" 5 "), is_decimal("5,5")
    (True, False, False, False)
    """
    return _DECIMAL.fullmatch(text) is not None
