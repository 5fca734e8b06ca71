"""How numbers with a sign are written, in reasons and checks as in the page's tables. Pure."""

MINUS = "\N{MINUS SIGN}"


def minus(text: str) -> str:
    """A number as text, with a minus sign where a hyphen stood.

    >>> minus("-0.31")
    '−0.31'
    """
    return text.replace("-", MINUS)
