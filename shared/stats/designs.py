"""How customers enter, what is frozen at the start, what is known at a look, and the verdict."""

from collections.abc import Sequence
from enum import StrEnum
from math import nan
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from shared.stats.group_sequential import Spending
from shared.stats.interval import Interval
from shared.stats.means import Stratum
from shared.stats.randomisation import Draw
from shared.stats.small_sample import Kind

Array = npt.NDArray[np.float64]


class Design(StrEnum):
    """How customers enter, which decides how looks hang together."""

    ONE_BLAST = "one_blast"
    STAGGERED = "staggered"
    OPEN_ENROLMENT = "open_enrolment"


class Plan(NamedTuple):
    """What was frozen at the start. `planned_standard_error` is that of the difference at the planned end, in the
    metric's unit: staggered sends and open enrolment need it, one blast does not.
    """

    design: Design
    alpha: float = 0.05
    spending: Spending = Spending.QUADRATIC
    planned_standard_error: float = nan


class Evidence(NamedTuple):
    """What is known at a look.

    strata
        Moments of both arms: of everyone's outcome so far (one blast), of mature customers (staggered), of everyone
        enrolled (open enrolment).
    fraction
        Of the window gone by (one blast), or of the customers mature (staggered; caps the information). Unused
        otherwise.
    correlation
        One blast: between all past looks and this one, in order, shape (k, k), from `correlated_looks.correlation` of
        the values as they were known at each look, or as recounted if it waited for the usual arrival lag.
    final, early
        The last look; and whether it is that because somebody stopped before the planned end.
    draw, seed
        Money on a frozen list: how it was dealt, for the randomisation test.
    """

    strata: Sequence[Stratum]
    kind: Kind
    fraction: float = nan
    final: bool = False
    correlation: Array | None = None
    draw: Draw | None = None
    seed: int = 0
    early: bool = False


class PastLook(NamedTuple):
    """What later looks need of this one. `fraction` is how far the spending has come, `bound` may be infinite.

    `clock` is (customers x standard error)^2, the variance of the total difference. Between looks at growing sets of
    customers it grows by independent increments even when later waves vary more or less than earlier ones; while they
    vary alike, it is proportional to the information 1 / se^2.
    """

    clock: float
    fraction: float
    bound: float
    statistic: float
    p_value: float


class Redealt(NamedTuple):
    """The two-sided p-value of a randomisation test, and of how many re-deals."""

    p_value: float
    draws: int


class Look(NamedTuple):
    """One look's verdict.

    bound
        On |statistic|; infinite when there is no verdict at this look (`interval.reason` says why).
    spent
        Alpha spent up to now.
    statistic
        On the normal scale: skew-corrected, or the normal quantile of the randomisation test's p-value.
    p_value
        Sequential: the smallest alpha at which this look or one before would have crossed. It never rises.
    crossed, decided
        Whether this look crosses its bound; whether this or an earlier one did.
    overstated
        Decided before the planned end: the estimate tends to be too large.
    too_few, warning
        Why nobody may conclude yet; why some care is due.
    redealt
        What the randomisation test found, as if this were the only look; None where it was not the test.
    """

    bound: float
    fraction: float
    spent: float
    clock: float
    statistic: float
    p_value: float
    interval: Interval
    relative: Interval
    crossed: bool
    decided: bool
    final: bool
    overstated: bool
    too_few: str | None
    warning: str | None
    redealt: Redealt | None

    def as_past(self) -> PastLook:
        """The numbers to store for the looks to come."""
        return PastLook(self.clock, self.fraction, self.bound, self.statistic, self.p_value)
