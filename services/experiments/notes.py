"""What is noted beside an effect, in words: why there is none yet, what it rests on, what to bear in mind. Pure."""

from datetime import datetime

from services.experiments import counted
from services.experiments.figures import ByStratum, Figures, kind_of
from shared.contracts.experiments import Experiment, Method
from shared.contracts.metrics import Maturity
from shared.contracts.results import Lateness, LookEffect, Sequential
from shared.stats import means, moments, small_sample
from shared.stats.moments import Moments

VISIBLE = 0.01  # standard errors


def of_effect(
    experiment: Experiment, found: Figures, arms: tuple[ByStratum, ByStratum], effect: LookEffect | None
) -> list[str]:
    """What to bear in mind of an effect: the reserve of the look that told it, or of the figures where none has."""
    control, treatment = (moments.merged(each.values()) for each in arms)
    metric = found.metric
    if effect is None:
        said = [small_sample.too_few(kind_of(metric), control, treatment)]
        said.append(small_sample.skewness_warning(control, treatment))
        if experiment.method is not Method.FIXED:
            said.append("no look has been taken yet")
    else:
        said = [effect.reason, effect.warning]
        if effect.overstated:
            said.append("decided before the planned end: the estimate tends to be too large")
    if metric.cap is not None:
        said.append(f"values are capped at {metric.cap}; totals are not")
    return list(dict.fromkeys(note for note in said if note))


def weighed(difference: means.Difference, arms: tuple[Moments, Moments]) -> list[str]:
    """Why the estimate is not the difference of the means beside it, where strata make that more than rounding."""
    control, treatment = arms
    apart = abs(difference.estimate - (treatment.mean - control.mean))
    if not apart > VISIBLE * difference.standard_error > 0:  # nor while there is nothing to compare
        return []
    weighed = f"{difference.treatment.estimate:.4g} and {difference.control.estimate:.4g}"
    return [f"strata weigh the same in both arms: so weighed the means are {weighed}, not those of all customers"]


def waiting(found: Figures, as_of: datetime, waits_for: Lateness | None) -> list[str]:
    """Why nobody counts yet, or fewer than there are."""
    if found.metric.maturity is not Maturity.CLOSED:
        return []
    responded = f"{found.waiting:,} customers have responded so far"
    if found.closes is not None and found.closes <= as_of:
        said = counted.held_back(found.closes, as_of, waits_for)
        return [said] if any(found.mature.values()) else [said, responded]
    if any(found.mature.values()):
        return []
    closes = [] if found.closes is None else [f"{responded}; the first window closes on {counted.moment(found.closes)}"]
    return ["no window has closed yet", *closes]


def not_borne_out(found: Sequential | None) -> list[str]:
    """Why a small p-value stands beside an interval that covers zero: the one is kept for ever, the other is of now."""
    crossed = found.crossed if found else None
    if crossed is None or crossed.borne_out:
        return []
    day = "" if crossed.day is None else f" (day {crossed.day})"
    return [f"crossed {crossed.side} zero at look {crossed.look}{day}, not borne out since"]
