"""Clauses about rows beside the customer's own, each as one set of customers computed from the index up."""

from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import aggregate_order_by

from services.audience import clock
from services.audience.queries.permission import HOLDING
from services.audience.segments.catalogue import EVENT_FIELDS, Catalogue
from services.audience.segments.measures import ZERO_WITHOUT_EVENTS, comparison, measure_type, measured_field
from services.audience.segments.sql.operands import (
    ColumnOperand,
    Condition,
    Expression,
    Operand,
    condition,
    inside,
    possibly,
)
from services.audience.segments.sql.tables import event
from services.audience.segments.values import Moment, holds, number
from services.audience.segments.windows import window
from shared.contracts.audience import AttributeType
from shared.contracts.clauses import ConsentClause, EventClause, Measure
from shared.contracts.comparisons import COMPLEMENTS, Comparison
from shared.contracts.permissions import ConsentState


class CustomerSet(NamedTuple):
    """A select of distinct `customer_id`. The clause holds of those in it, or with `inverted` of all others."""

    select: sa.Select[tuple[str]]
    inverted: bool


def event_set(clause: EventClause, as_of: datetime, catalogue: Catalogue) -> CustomerSet:
    """Customers by a measure of their events.

    Customers without events are not among the rows that are grouped. So where the clause holds without events, the set
    is of those of whom it does *not* hold, and inverted.
    """
    operator, value = comparison(clause)
    positive = COMPLEMENTS.get(operator, operator)
    kind = measure_type(clause, catalogue.property_type) or AttributeType.TEXT
    moment = Moment(as_of)
    having = possibly(_measured(clause, as_of, catalogue), positive, value, moment)
    inverted = positive is not operator
    if clause.measure in ZERO_WITHOUT_EVENTS and holds(positive, number(0), value, kind, moment):
        having, inverted = sa.not_(having), not inverted
    counted = sa.select(event.c.customer_id).where(*_which(clause, as_of, catalogue)).group_by(event.c.customer_id)
    at_least_one = clause.measure is Measure.COUNT and clause.is_ is None
    return CustomerSet(counted if at_least_one else counted.having(having), inverted)


def _which(clause: EventClause, as_of: datetime, catalogue: Catalogue) -> list[Condition]:
    start, end = window(clause, as_of)
    times = [event.c.occurred_at < end] if start is None else [event.c.occurred_at >= start, event.c.occurred_at < end]
    return [
        event.c.kind == clause.event,
        *(_holds(_field(clause.event, name, catalogue), each, as_of) for name, each in clause.where.items()),
        *times,
    ]


def _holds(operand: Operand, asked: Comparison, as_of: datetime) -> Condition:
    """A condition for `where`, which drops nulls by itself: bare, so that the index can serve it."""
    decide = condition if asked.is_ in COMPLEMENTS else possibly
    return decide(operand, asked.is_, asked.value, Moment(as_of))


def _field(kind: str, name: str, catalogue: Catalogue) -> Operand:
    declared = catalogue.property_type(kind, name)
    assert declared is not None, "checked before"
    if name in EVENT_FIELDS:
        return ColumnOperand(declared, event.c[name])
    return inside(event.c.properties, declared, name)


def _measured(clause: EventClause, as_of: datetime, catalogue: Catalogue) -> ColumnOperand:
    measure = clause.measure
    if measure is Measure.COUNT:
        return ColumnOperand(AttributeType.NUMBER, sa.func.count())
    name = measured_field(clause)
    if name is None:
        return _of_time(measure, as_of)
    declared = AttributeType.NUMBER if name == "value" else catalogue.property_type(clause.event, name)
    value = _scalar(name, declared or AttributeType.TEXT)
    if measure is Measure.SUM:
        return ColumnOperand(AttributeType.NUMBER, sa.func.coalesce(sa.func.sum(value), 0))
    if measure is Measure.AVG:  # the sum against so many times the value: exact where a quotient would be rounded
        return ColumnOperand(AttributeType.NUMBER, sa.func.sum(value), scale=sa.func.count(value))
    if measure is Measure.DISTINCT:
        return ColumnOperand(AttributeType.NUMBER, sa.func.count(sa.distinct(value)))
    if measure in (Measure.MIN, Measure.MAX):
        return ColumnOperand(AttributeType.NUMBER, (sa.func.min if measure is Measure.MIN else sa.func.max)(value))
    return ColumnOperand(declared or AttributeType.TEXT, _outermost(measure, value))


def _of_time(measure: Measure, as_of: datetime) -> ColumnOperand:
    if measure is Measure.FIRST:
        return ColumnOperand(AttributeType.INSTANT, sa.func.min(event.c.occurred_at))
    last = sa.func.max(event.c.occurred_at)
    if measure is Measure.LAST:
        return ColumnOperand(AttributeType.INSTANT, last)
    moment = sa.bindparam(None, as_of, type_=sa.DateTime(timezone=True))
    return ColumnOperand(AttributeType.NUMBER, sa.func.floor(sa.extract("epoch", moment - last) / 86_400))


def _outermost(measure: Measure, value: Expression) -> Expression:
    place = (event.c.occurred_at, event.c.event_id)
    order = place if measure is Measure.FIRST else tuple(column.desc() for column in place)
    ordered = sa.func.array_agg(aggregate_order_by(value, *order), type_=sa.ARRAY(value.type))
    return ordered.filter(value.is_not(None))[1]


def _scalar(name: str, kind: AttributeType) -> Expression:
    """A field or property in its own SQL type; null where it is missing or of another type."""
    if name in EVENT_FIELDS:
        return event.c[name]
    operand = inside(event.c.properties, kind, name)
    typed = sa.func.jsonb_typeof(operand.json)
    if kind is AttributeType.NUMBER:
        return sa.case((typed == "number", sa.cast(operand.json, sa.Numeric())))
    if kind is AttributeType.BOOLEAN:
        return sa.case((typed == "boolean", sa.cast(operand.json, sa.Boolean())))
    return sa.case((typed == "string", operand.text))


# Sending asks for every refusal there is. A definition may be evaluated as of the past, which knew of no later one.
HEARD_OF_ALL = HOLDING.format(asked="is not null and s.at <= :heard")


def consent_set(clause: ConsentClause, as_of: datetime) -> CustomerSet:
    """Customers by the state of their consent, as the holding statement says it of those that were heard by `as_of`.

    Who never said anything is `unknown`, and not among the rows.
    """
    scope = {"brand": clause.brand, "channel": clause.consent, "purpose": clause.purpose}
    asked: list[sa.BindParameter[Any]] = [
        sa.bindparam(name, value, sa.Text, unique=True) for name, value in scope.items()
    ]
    times = {"now": as_of, "heard": as_of + clock.REFUSAL_AHEAD}
    asked += [sa.bindparam(name, time, sa.DateTime(timezone=True), unique=True) for name, time in times.items()]
    holding = sa.text(HEARD_OF_ALL).bindparams(*asked).columns(customer_id=sa.Text, state=sa.Text).subquery()
    wanted = holding.c.state.in_([state.value for state in clause.state])
    inverted = ConsentState.UNKNOWN in clause.state
    return CustomerSet(sa.select(holding.c.customer_id).where(sa.not_(wanted) if inverted else wanted), inverted)
