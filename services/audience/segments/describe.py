"""A definition in words, as one English sentence."""

from typing import Any

from services.audience.segments.measures import comparison
from shared.contracts.clauses import (
    PERMITTING,
    All,
    AnyOf,
    AttributeClause,
    Clause,
    ConsentClause,
    EventClause,
    Measure,
    Not,
    Period,
    SegmentClause,
    TraitClause,
)
from shared.contracts.comparisons import Operator

_WORDS = {
    Operator.EQ: "is {}",
    Operator.NE: "is not {}",
    Operator.IN: "is {}",
    Operator.NOT_IN: "is not {}",
    Operator.LT: "is below {}",
    Operator.LTE: "is at most {}",
    Operator.GT: "is above {}",
    Operator.GTE: "is at least {}",
    Operator.BETWEEN: "is between {} and {}",
    Operator.CONTAINS: "contains {}",
    Operator.STARTS_WITH: "starts with {}",
    Operator.EXISTS: "is known",
    Operator.MISSING: "is not known",
    Operator.WITHIN_LAST: "lies within the last {} days",
    Operator.WITHIN_NEXT: "lies within the next {} days",
    Operator.BETWEEN_AGO: "lies {} to {} days back",
    Operator.ANNIVERSARY_IN: "comes round within the next {} days",
}
_MEASURES = {
    Measure.COUNT: "the number of {events}",
    Measure.SUM: "the sum of {of} over {events}",
    Measure.AVG: "the average {of} of {events}",
    Measure.MIN: "the smallest {of} of {events}",
    Measure.MAX: "the largest {of} of {events}",
    Measure.DISTINCT: "the number of different {of} of {events}",
    Measure.FIRST: "the first of {events}",
    Measure.LAST: "the last of {events}",
    Measure.DAYS_SINCE_LAST: "the number of days since the last of {events}",
}
_PERIODS = {0: "this {}", -1: "last {}"}


def describe(definition: Clause) -> str:
    """The definition as a sentence.

    >>> from shared.contracts.clauses import All, SegmentClause
    >>> describe(All(all=[AttributeClause.model_validate({"attribute": "age", "is": "between", "value": [25, 40]}),
    ...                   Not.model_validate({"not": {"segment": "vip"}})]))
    'Customers for whom age is between 25 and 40, and not (they are in the segment vip).'
    """
    return f"Customers for whom {phrase(definition, outermost=True)}."


def phrase(clause: Clause, *, outermost: bool = False) -> str:
    """A clause as part of a sentence; groups inside others stand in brackets."""
    if isinstance(clause, All | AnyOf):
        inner = clause.all if isinstance(clause, All) else clause.any
        joined = _joined([phrase(one) for one in inner], "and" if isinstance(clause, All) else "or")
        return joined if outermost or len(inner) == 1 else f"({joined})"
    if isinstance(clause, Not):
        return f"not ({phrase(clause.not_, outermost=True)})"
    if isinstance(clause, AttributeClause):
        filled = ", filled values included," if clause.filled else ""
        return f"{clause.attribute}{filled} {_compared(clause.is_, clause.value)}"
    if isinstance(clause, TraitClause):
        value = clause.value if clause.cutoff is None else f"the cut-off {clause.cutoff}"
        return f"the trait {clause.trait} {_compared(clause.is_, value, quoted=clause.cutoff is None)}"
    if isinstance(clause, EventClause):
        return _of_events(clause)
    if isinstance(clause, SegmentClause):
        return f"they are in the segment {clause.segment}"
    return _consent(clause)


def _joined(parts: list[str], word: str) -> str:
    if len(parts) < 3:
        return f", {word} ".join(parts) if word == "and" else f" {word} ".join(parts)
    return f"{', '.join(parts[:-1])}, {word} {parts[-1]}"


def _compared(operator: Operator, value: Any, *, quoted: bool = True) -> str:
    template = _WORDS[operator]
    if operator in (Operator.IN, Operator.NOT_IN):
        word = "or" if operator is Operator.IN else "nor"
        return template.format(f" {word} ".join(_shown(item) for item in value))
    items = value if isinstance(value, list) else [] if value is None else [value]
    return template.format(*(_shown(item) if quoted else item for item in items))


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"“{value}”" if isinstance(value, str) else f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _of_events(clause: EventClause) -> str:
    events = _events(clause)
    operator, value = comparison(clause)
    if clause.measure is Measure.COUNT and operator is Operator.GTE and value == 1:
        return f"there are {events}"
    of = clause.of or "value"
    measured = _MEASURES[clause.measure].format(events=events, of=of)
    if clause.of and clause.measure in (Measure.FIRST, Measure.LAST):
        measured = f"the {clause.measure} {of} of {events}"
    return f"{measured} {_compared(operator, value)}"


def _events(clause: EventClause) -> str:
    where = " and ".join(f"{name} {_compared(each.is_, each.value)}" for name, each in clause.where.items())
    return f"{clause.event} events{f' where {where}' if where else ''}{_window(clause)}"


def _window(clause: EventClause) -> str:
    if clause.within_days is not None:
        return f" in the last {clause.within_days:g} days"
    if clause.between_ago is not None:
        return f" from {clause.between_ago[0]:g} to {clause.between_ago[1]:g} days back"
    if clause.between is not None:
        return f" from {clause.between[0].isoformat()} until {clause.between[1].isoformat()}"
    return _period(clause.during) if clause.during is not None else ""


def _period(period: Period) -> str:
    if period.offset in _PERIODS:
        return f" in {_PERIODS[period.offset].format(period.calendar)} ({period.zone})"
    return f" in the {period.calendar} {-period.offset} {period.calendar}s ago ({period.zone})"


def _consent(clause: ConsentClause) -> str:
    brand = "" if clause.brand == "default" else f" from {clause.brand}"
    about = f"{clause.purpose} by {clause.consent}{brand}"
    if set(clause.state) == set(PERMITTING):
        return f"{about} is permitted"
    return f"consent to {about} is {' or '.join(state.value.replace('_', ' ') for state in clause.state)}"
