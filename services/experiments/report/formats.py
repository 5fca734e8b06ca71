"""Figures as people read them. A figure that there is not is a dash, never a number."""

from datetime import datetime
from typing import NamedTuple

from services.experiments.signs import minus
from shared.contracts.metrics import MetricKind
from shared.contracts.results import Interval, MetricResult

NONE = "–"


class Unit(NamedTuple):
    """How figures of a metric are written: times `scale`, with `digits` (None: three significant), and what follows."""

    scale: float
    digits: int | None
    after: str
    difference: str  # what follows a difference


def unit_of(metric: MetricResult) -> Unit:
    """Proportions in per cent and percentage points, money with cents and its currency, counts as they are."""
    if metric.kind is MetricKind.PROPORTION:
        return Unit(100, 2, "\N{NO-BREAK SPACE}%", "\N{NO-BREAK SPACE}pp")
    if metric.currency:
        currency = f"\N{NO-BREAK SPACE}{metric.currency}"
        return Unit(1, 2, currency, currency)
    return Unit(1, None, "", "")


def money(currency: str | None, digits: int | None = 2) -> Unit:
    """Amounts of money, or of an outcome without currency."""
    after = f"\N{NO-BREAK SPACE}{currency}" if currency else ""
    return Unit(1, digits if currency else None, after, after)


def whole(count: float | None) -> str:
    """A count of customers or things: 64,000."""
    return NONE if count is None else minus(f"{count:,.0f}")


def plain(value: float | None, unit: Unit) -> str:
    """A level: 14.70 %."""
    return NONE if value is None else minus(_digits(value * unit.scale, unit.digits)) + unit.after


def signed(value: float | None, unit: Unit) -> str:
    """A difference, always with its sign: +1.20 pp."""
    if value is None:
        return NONE
    text = _digits(value * unit.scale, unit.digits)
    return minus(text if text.startswith("-") else f"+{text}") + unit.difference


def between(low: float | None, high: float | None, unit: Unit) -> str:
    """An interval of a difference: +0.60 to +1.80 pp; one that is open on a side says so."""
    bare = unit._replace(difference="")
    if low is None and high is None:
        return NONE
    if low is None:
        return f"at most {signed(high, unit)}"
    if high is None:
        return f"at least {signed(low, unit)}"
    return f"{signed(low, bare)} to {signed(high, unit)}"


class Figure(NamedTuple):
    """A figure and what stands below it: its interval, or why there is none."""

    text: str
    below: str = ""


def interval(found: Interval, unit: Unit, reason: str | None = None) -> Figure:
    """Estimate above, interval below; of an interval that is open on one side that end alone."""
    spread = between(found.low, found.high, unit)
    if found.estimate is None:
        return Figure(spread, reason or "")
    return Figure(signed(found.estimate, unit), reason or ("" if spread == NONE else spread))


def cost(found: Interval, unit: Unit) -> Figure:
    """As `interval`, of something that has no sign: 3.90 EUR, 2.63 to 7.57 EUR below."""
    text, below = interval(found, unit)
    return Figure(text.replace("+", ""), below.replace("+", ""))


def tick(value: float, unit: Unit) -> str:
    """A label of an axis of differences: as short as it can be."""
    if not value:
        return "0"
    return minus(f"{value * unit.scale:+,.6g}") + unit.difference


PER_CENT = Unit(100, 1, "\N{NO-BREAK SPACE}%", "\N{NO-BREAK SPACE}%")
SHARE = Unit(100, 0, "\N{NO-BREAK SPACE}%", "\N{NO-BREAK SPACE}%")


def p_value(p: float | None) -> str:
    """Three decimals; below that, that it is below."""
    if p is None:
        return NONE
    return "<\N{NO-BREAK SPACE}0.001" if p < 0.001 else f"{p:.3f}"


def figure(value: float | None) -> str:
    """A figure of no stated unit, three significant digits."""
    if value is None:
        return NONE
    if value == int(value) and abs(value) < 1e15:
        return whole(value)
    return "<\N{NO-BREAK SPACE}0.001" if 0 < abs(value) < 0.001 else minus(_digits(value, None))


def day(instant: datetime) -> str:
    """14 March 2026."""
    return f"{instant.day} {instant:%B %Y}"


def moment(instant: datetime) -> str:
    """14 March 2026, 09:30 UTC."""
    return f"{day(instant)}, {instant:%H:%M} UTC"


def words(key: str) -> str:
    """A key of ours as words: sample_ratio → sample ratio."""
    return key.replace("_", " ")


def _digits(value: float, digits: int | None) -> str:
    if digits is not None:
        small = value and abs(value) < 0.5 * 10**-digits
        return f"{value:,.1g}" if small and abs(value) > 1e-6 else f"{value:,.{digits}f}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:#.3g}".rstrip(".")
