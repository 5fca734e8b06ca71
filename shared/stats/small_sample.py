"""When there is too little to say anything, and when what is said deserves a warning."""

from enum import StrEnum

from shared.stats.moments import Moments

RESPONDERS = 25
MONEY_RESPONDERS = 100
CUSTOMERS_PER_SKEWNESS_SQUARED = 355


class Kind(StrEnum):
    """What a metric measures, as far as small samples are concerned."""

    PROPORTION = "proportion"
    COUNT = "count"
    MONEY = "money"


def needed(kind: Kind) -> int:
    """Responders that each arm must have before there is a verdict.

    >>> needed(Kind.COUNT), needed(Kind.MONEY)
    (25, 100)
    """
    return MONEY_RESPONDERS if kind is Kind.MONEY else RESPONDERS


def too_few(kind: Kind, control: Moments, treatment: Moments) -> str | None:
    """Say why there is no verdict yet, or None when there may be one.

    For proportions those who did *not* respond are counted as well: 99.9 % yes is as skewed as 0.1 %.

    >>> from shared.stats.moments import of_successes
    >>> too_few(Kind.PROPORTION, of_successes(2000, 12), of_successes(38000, 300))
    'the control has 12 responders, 25 are needed'
    >>> too_few(Kind.PROPORTION, of_successes(2000, 30), of_successes(38000, 300)) is None
    True
    """
    least = needed(kind)
    for name, arm in (("control", control), ("treatment", treatment)):
        if arm.responders < least:
            return f"the {name} has {arm.responders} responders, {least} are needed"
        if kind is Kind.PROPORTION and arm.n - arm.responders < least:
            return f"the {name} has {arm.n - arm.responders} customers who did not respond, {least} are needed"
    return None


def skewness_warning(control: Moments, treatment: Moments) -> str | None:
    """Warn while the smaller arm has fewer than 355 customers per squared skewness.

    Source: Kohavi, Deng, Longbotham & Xu (2014), KDD, rule 7: from there on the mean is nearly normal.

    >>> from shared.stats.moments import of_successes
    >>> skewness_warning(of_successes(2000, 20), of_successes(2000, 25))
    'skewed: 34,439 customers per arm would make the mean nearly normal, the smaller arm has 2,000'
    >>> skewness_warning(of_successes(2000, 900), of_successes(2000, 900)) is None
    True
    """
    skewness = max((abs(arm.skewness) for arm in (control, treatment) if arm.n), default=0.0)
    size = min(control.n, treatment.n)
    wanted = CUSTOMERS_PER_SKEWNESS_SQUARED * skewness**2
    if not size < wanted:
        return None
    return f"skewed: {wanted:,.0f} customers per arm would make the mean nearly normal, the smaller arm has {size:,}"
