"""What an event clause measures: its type, its comparison, and its value for one customer."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

from services.audience.segments.values import Moment, Typed, holds, looked_at, read
from services.audience.segments.windows import window
from shared.contracts.audience import AttributeType
from shared.contracts.clauses import EventClause, Measure
from shared.contracts.comparisons import Operator

ZERO_WITHOUT_EVENTS = (Measure.COUNT, Measure.SUM, Measure.DISTINCT)
OF_NUMBERS = (Measure.SUM, Measure.AVG, Measure.MIN, Measure.MAX)

PropertyType = Callable[[str, str], AttributeType | None]


class SeenEvent(NamedTuple):
    """An event of a customer, with what clauses can look at."""

    event_id: str
    kind: str
    occurred_at: datetime
    value: Decimal | None = None
    category: str | None = None
    currency: str | None = None
    campaign: str | None = None
    properties: dict[str, Any] | None = None

    def field(self, name: str) -> Any:
        """A field of every event, or a property of this one."""
        if name in ("value", "category", "currency", "campaign"):
            return getattr(self, name)
        return (self.properties or {}).get(name)


def comparison(clause: EventClause) -> tuple[Operator, Any]:
    """How the measure is compared: as the clause says, else at least one event."""
    return (Operator.GTE, 1) if clause.is_ is None else (clause.is_, clause.value)


def measured_field(clause: EventClause) -> str | None:
    """The field or property that is measured; None where the events themselves are."""
    return clause.of or ("value" if clause.measure in OF_NUMBERS else None)


def measure_type(clause: EventClause, property_type: PropertyType) -> AttributeType | None:
    """The type of what is measured; None for the first or last of an undeclared property."""
    if clause.measure not in (Measure.FIRST, Measure.LAST):
        return AttributeType.NUMBER
    return AttributeType.INSTANT if clause.of is None else property_type(clause.event, clause.of)


def measure(
    clause: EventClause, events: Sequence[SeenEvent], as_of: datetime, property_type: PropertyType
) -> Typed | None:
    """The measure over a customer's events as they were known at `as_of`; None where it does not exist."""
    counted = sorted(
        (event for event in events if _counts(clause, event, as_of, property_type)),
        key=lambda event: (event.occurred_at, event.event_id),
    )
    if clause.measure is Measure.COUNT:
        return Fraction(len(counted))
    name = measured_field(clause)
    if name is None:
        return _of_time(clause.measure, [event.occurred_at for event in counted], as_of)
    kind = AttributeType.NUMBER if clause.measure in OF_NUMBERS else property_type(clause.event, name)
    assert kind is not None, "checked before"
    if clause.measure is Measure.DISTINCT and kind is AttributeType.INSTANT:
        kind = AttributeType.TEXT  # as it came: what an earlier release stored is counted as it always was
    values = [value for event in counted if (value := read(kind, event.field(name))) is not None]
    return _of_values(clause.measure, values)


def _counts(clause: EventClause, event: SeenEvent, as_of: datetime, property_type: PropertyType) -> bool:
    if event.kind != clause.event or not window(clause, as_of).holds(event.occurred_at):
        return False
    for name, condition in clause.where.items():
        kind = property_type(clause.event, name)
        assert kind is not None, "checked before"
        found = looked_at(condition.is_, kind, event.field(name))
        if not holds(condition.is_, found, condition.value, kind, Moment(as_of)):
            return False
    return True


def _of_time(measure: Measure, instants: Sequence[datetime], as_of: datetime) -> Typed | None:
    if not instants:
        return None
    if measure is Measure.DAYS_SINCE_LAST:
        return Fraction((as_of - instants[-1]) // timedelta(days=1))
    return instants[0] if measure is Measure.FIRST else instants[-1]


def _of_values(measure: Measure, values: Sequence[Any]) -> Typed | None:
    if measure is Measure.SUM:
        return sum(values, Fraction(0))
    if measure is Measure.DISTINCT:
        return Fraction(len(set(values)))
    if not values:
        return None
    if measure is Measure.AVG:
        return sum(values, Fraction(0)) / len(values)
    if measure in (Measure.MIN, Measure.MAX):
        return min(values) if measure is Measure.MIN else max(values)  # type: ignore[no-any-return]
    return values[0] if measure is Measure.FIRST else values[-1]  # type: ignore[no-any-return]


def shown(found: Any) -> str | int | float | bool | None:
    """A value as JSON can show it."""
    if isinstance(found, Fraction | Decimal):
        return int(found) if found == int(found) else float(found)
    return found if found is None or isinstance(found, str | bool | int | float) else str(found.isoformat())
