"""Values and their comparison, for one customer at a time: exact, and false where there is no value."""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple, TypeAlias

from services.audience.segments.windows import anniversaries, days_before, local_day
from shared.contracts.audience import AttributeType
from shared.contracts.comparisons import COMPLEMENTS, PRESENCE, Operator

Typed: TypeAlias = Fraction | str | bool | date | datetime

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,6})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)


class Moment(NamedTuple):
    """When a definition is evaluated, and in which zone a calendar day begins."""

    as_of: datetime
    zone: str = "UTC"


def read(kind: AttributeType, raw: Any) -> Typed | None:
    """A JSON value as a value of this type; None where it is not one."""
    if kind is AttributeType.NUMBER:
        return number(raw)
    if kind is AttributeType.BOOLEAN:
        return raw if isinstance(raw, bool) else None
    if not isinstance(raw, str):
        return None
    if kind is AttributeType.DATE:
        return _day(raw)
    return _instant(raw) if kind is AttributeType.INSTANT else raw


def looked_at(operator: Operator, kind: AttributeType, raw: Any) -> Any:
    """What an operator looks at in a JSON value: `exists` and `missing` at whatever is there, others at this type."""
    return raw if operator in PRESENCE else read(kind, raw)


def number(raw: Any) -> Fraction | None:
    """A number, exactly as its decimal digits say."""
    if isinstance(raw, bool) or not isinstance(raw, int | float | Decimal):
        return None
    return Fraction(Decimal(repr(raw)) if isinstance(raw, float) else raw)


def _day(raw: str) -> date | None:
    try:
        return date.fromisoformat(raw) if _DATE.fullmatch(raw) else None
    except ValueError:
        return None


def _instant(raw: str) -> datetime | None:
    try:
        return datetime.fromisoformat(raw.upper()).astimezone(UTC) if _INSTANT.fullmatch(raw) else None
    except (ValueError, OverflowError):
        return None


def type_of(value: Any) -> AttributeType:
    """The type that a JSON value, or the first of a list, has by itself."""
    first = value[0] if isinstance(value, list) else value
    if isinstance(first, bool):
        return AttributeType.BOOLEAN
    return AttributeType.TEXT if isinstance(first, str) else AttributeType.NUMBER


def holds(operator: Operator, found: Any, value: Any, kind: AttributeType, moment: Moment) -> bool:
    """Whether a comparison holds of the value found (see `looked_at`); `value` is as the clause has it."""
    positive = COMPLEMENTS.get(operator)
    if positive is not None:
        return not holds(positive, found, value, kind, moment)
    if found is None:
        return False
    if operator is Operator.EXISTS:
        return True
    if operator is Operator.IN:
        return any(found == read(kind, item) for item in value)
    if operator in (Operator.CONTAINS, Operator.STARTS_WITH):
        return _text_holds(operator, str(found), value)
    if kind is AttributeType.DATE and operator is Operator.ANNIVERSARY_IN:
        return str(found)[5:] in anniversaries(local_day(moment.as_of, moment.zone), int(value))
    edges = time_window(operator, value, kind, moment)
    if edges is not None:
        return _ordered(edges[0], found) and _ordered(found, edges[1], strictly=True)
    return _compares(operator, found, value, kind)


def time_window(
    operator: Operator, value: Any, kind: AttributeType, moment: Moment
) -> tuple[date, date] | tuple[datetime, datetime] | None:
    """[from, to) of an operator of time: days for dates, in the moment's zone, multiples of 24 hours for instants."""
    ago = _ago(operator, value)
    if ago is None:
        return None
    longer, shorter = ago
    if kind is AttributeType.DATE:
        today = local_day(moment.as_of, moment.zone)
        return today - timedelta(days=int(longer)), today - timedelta(days=int(shorter))
    return days_before(moment.as_of, longer), days_before(moment.as_of, shorter)


def _ago(operator: Operator, value: Any) -> tuple[float, float] | None:
    """From how many to how many days before; what lies ahead is a negative number."""
    if operator is Operator.WITHIN_LAST:
        return value, 0
    if operator is Operator.WITHIN_NEXT:
        return 0, -value
    return (value[0], value[1]) if operator is Operator.BETWEEN_AGO else None


def _text_holds(operator: Operator, found: str, value: str) -> bool:
    return value in found if operator is Operator.CONTAINS else found.startswith(value)


def _compares(operator: Operator, found: Typed, value: Any, kind: AttributeType) -> bool:
    bounds: Sequence[Typed | None] = [read(kind, item) for item in (value if isinstance(value, list) else [value])]
    first, last = bounds[0], bounds[-1]
    if operator is Operator.EQ:
        return found == first
    if operator is Operator.BETWEEN:
        return _ordered(first, found) and _ordered(found, last)
    if operator in (Operator.LT, Operator.LTE):
        return _ordered(found, first, strictly=operator is Operator.LT)
    return _ordered(first, found, strictly=operator is Operator.GT)


def _ordered(low: Any, high: Any, *, strictly: bool = False) -> bool:
    return bool(low < high if strictly else low <= high)
