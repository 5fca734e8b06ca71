"""Clauses about rows beside the customer's own, each as one set of customers computed from the index up."""

from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import aggregate_order_by, distinct_on

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
from services.audience.segments.sql.tables import consent, event, withdrawal
from services.audience.segments.values import Moment, holds, number
from services.audience.segments.windows import window
from shared.contracts.audience import AttributeType
from shared.contracts.clauses import PERMITTING, ConsentClause, EventClause, Measure
from shared.contracts.comparisons import COMPLEMENTS, Comparison
from shared.contracts.permissions import ConsentState

EVERY = "*"  # how audience stores a statement that covers every brand, channel or purpose


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


def consent_set(clause: ConsentClause, as_of: datetime) -> CustomerSet:
    """Customers by the state of their consent: of the statements that cover the scope the newest decides.

    Of several at the same time the narrower decides, and of those one that does not permit. A refusal holds at once,
    even when the clock that stamped it runs ahead. Who never said anything is `unknown`, and not among the rows.
    """
    said = sa.union_all(_stated(clause, as_of), _withdrawn(clause)).subquery("said")
    narrowest = (said.c.customer_id, said.c.at.desc(), said.c.named.desc(), said.c.permits, said.c.state.desc())
    deciding = sa.select(said.c.customer_id, said.c.state).ext(distinct_on(said.c.customer_id)).order_by(*narrowest)
    decided = deciding.subquery("decided")
    wanted = decided.c.state.in_([_code(state) for state in clause.state])
    inverted = ConsentState.UNKNOWN in clause.state
    return CustomerSet(sa.select(decided.c.customer_id).where(sa.not_(wanted) if inverted else wanted), inverted)


def _code(state: ConsentState) -> int:
    return list(ConsentState).index(state)


def _stated(clause: ConsentClause, as_of: datetime) -> sa.Select[Any]:
    scope = {"brand": clause.brand, "channel": clause.consent, "purpose": clause.purpose}
    narrowness = [sa.case((consent.c[name] == EVERY, 0), else_=1) for name in scope]
    permitting = consent.c.state.in_([state.value for state in PERMITTING])
    expired = sa.and_(permitting, consent.c.expires_at <= as_of)
    commonest_first = sorted(ConsentState, key=lambda state: state is not ConsentState.GRANTED)
    codes = [(consent.c.state == state.value, _code(state)) for state in commonest_first]
    refusals = [state.value for state in ConsentState if state.refuses]
    return sa.select(
        consent.c.customer_id,
        consent.c.at,
        _sum(narrowness).label("named"),
        sa.and_(permitting, expired.is_not(sa.true())).label("permits"),
        sa.case((expired, _code(ConsentState.EXPIRED)), *codes).label("state"),
    ).where(
        *(consent.c[name].in_([asked, EVERY]) for name, asked in scope.items()),
        sa.or_(consent.c.at <= as_of, consent.c.state.in_(refusals)),
    )


def _withdrawn(clause: ConsentClause) -> sa.Select[Any]:
    """What feedback heard, in lower case, which is in force before audience has it on its own record."""
    scope = {"brand": clause.brand.lower(), "channel": clause.consent.lower(), "purpose": clause.purpose.lower()}
    narrowness = [sa.case((withdrawal.c[name].is_(None), 0), else_=1) for name in scope]
    return sa.select(
        withdrawal.c.customer_id,
        withdrawal.c.at,
        _sum(narrowness).label("named"),
        sa.false().label("permits"),
        sa.literal(_code(ConsentState.WITHDRAWN), sa.Integer).label("state"),
    ).where(*(sa.or_(withdrawal.c[name].is_(None), withdrawal.c[name] == asked) for name, asked in scope.items()))


def _sum(parts: list[sa.Case[int]]) -> Expression:
    first, second, third = parts
    return first + second + third
