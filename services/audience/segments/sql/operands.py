"""What is compared in SQL, and the comparison: an expression that is true or false, never null."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple, TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from services.audience.segments.values import Moment, read, time_window
from services.audience.segments.windows import anniversaries, local_day
from shared.contracts.audience import AttributeType
from shared.contracts.comparisons import COMPLEMENTS, OF_TEXT, Operator

Expression: TypeAlias = sa.ColumnElement[Any]
Condition: TypeAlias = sa.ColumnElement[bool]

_TIMES = (AttributeType.DATE, AttributeType.INSTANT)
_SQL_TYPES: dict[AttributeType, sa.types.TypeEngine[Any]] = {
    AttributeType.NUMBER: sa.Numeric(),
    AttributeType.TEXT: sa.Text(),
    AttributeType.BOOLEAN: sa.Boolean(),
    AttributeType.INSTANT: sa.DateTime(timezone=True),
}
_JSON_TYPES = {AttributeType.NUMBER: "number", AttributeType.TEXT: "string", AttributeType.BOOLEAN: "boolean"}


class JsonOperand(NamedTuple):
    """A value inside `jsonb`: itself, and as text. Both are null where there is none."""

    kind: AttributeType
    json: Expression
    text: Expression


class ColumnOperand(NamedTuple):
    """A column or measure of its own SQL type; null where there is none. `scale` multiplies what it is held against."""

    kind: AttributeType
    column: Expression
    scale: Expression | None = None


Operand: TypeAlias = JsonOperand | ColumnOperand


def inside(source: Expression, kind: AttributeType, *path: str) -> JsonOperand:
    """The value at `path` in a `jsonb` object."""
    *outer, name = path
    for step in outer:
        source = source.op("->", return_type=JSONB())(step)
    return JsonOperand(kind, source.op("->", return_type=JSONB())(name), source.op("->>", return_type=sa.Text())(name))


def is_present(operand: Operand) -> Condition:
    """Whether there is a value."""
    return (operand.text if isinstance(operand, JsonOperand) else operand.column).is_not(None)


def condition(operand: Operand, operator: Operator, value: Any, moment: Moment) -> Condition:
    """Whether the comparison holds; false where there is no value, except for complements."""
    positive = COMPLEMENTS.get(operator)
    if positive is None:
        return possibly(operand, operator, value, moment).is_(sa.true())
    return possibly(operand, positive, value, moment).is_not(sa.true())


def possibly(operand: Operand, operator: Operator, value: Any, moment: Moment) -> Condition:
    """A positive comparison that is null or false where it does not hold: enough for `having`."""
    if operator is Operator.EXISTS:
        return is_present(operand)
    if isinstance(operand, ColumnOperand):
        return _of_column(operand, operator, value, moment)
    if operand.kind in _TIMES:
        return _of_time(operand.kind, _sortable(operand), operator, value, moment)
    return _of_json(operand, operator, value)


def _of_json(operand: JsonOperand, operator: Operator, value: Any) -> Condition:
    """Postgres decides from left to right: what is cheap and seldom true first, the type of the value after it."""
    typed = sa.func.jsonb_typeof(operand.json) == _JSON_TYPES[operand.kind]
    if operator in OF_TEXT:
        return sa.and_(_of_text(operand.text, operator, value), typed)
    if operand.kind is AttributeType.NUMBER:
        return _of_number(operand.json, operator, value, typed)
    if operator is Operator.IN:
        return sa.and_(_among(operand.text, [_text(item) for item in value], sa.Text()), typed)
    return sa.and_(operand.text == _text(value), typed)


def _of_number(number: Expression, operator: Operator, value: Any, typed: Condition) -> Condition:
    """Numbers are compared as `jsonb`, exactly and without a cast that could fail; other types sort apart from them."""
    if operator is Operator.EQ:
        return number == _json(value)
    if operator is Operator.IN:
        return _among(number, value, JSONB())
    if operator is Operator.BETWEEN:
        return number.between(_json(value[0]), _json(value[1]))
    return sa.and_(_ordered(operator, number, _json(value)), typed)


def _text(value: Any) -> str:
    """A scalar as `->>` gives it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _json(value: Any) -> Expression:
    if isinstance(value, Decimal):
        return sa.cast(sa.bindparam(None, str(value), type_=sa.Text()), JSONB())
    return sa.bindparam(None, value, type_=JSONB())


def _of_text(text: Expression, operator: Operator, value: str) -> Condition:
    if operator is Operator.CONTAINS:
        return sa.func.strpos(text, value) > 0
    return sa.func.starts_with(text, value)


def _sortable(operand: JsonOperand) -> Expression:
    """Dates and instants are stored so that text sorts as time does: `2024-02-29`, `2024-02-29T09:30:00[.123456]Z`."""
    text = operand.text if operand.kind is AttributeType.DATE else sa.func.rtrim(operand.text, "Z")
    return sa.collate(text, "C")


def _of_time(kind: AttributeType, text: Expression, operator: Operator, value: Any, moment: Moment) -> Condition:
    if operator is Operator.ANNIVERSARY_IN:
        coming = anniversaries(local_day(moment.as_of, moment.zone), int(value))
        return sa.func.substr(text, 6) == sa.any_(sa.bindparam(None, coming, type_=ARRAY(sa.Text())))
    window = time_window(operator, value, kind, moment)
    if window is not None:
        return sa.and_(text >= _text_of(window[0]), text < _text_of(window[1]))
    items = [_text_of(read(kind, item)) for item in (value if isinstance(value, list) else [value])]
    return _among(text, items, sa.Text()) if operator is Operator.IN else _plain(text, operator, items)


def _text_of(time: Any) -> str:
    if isinstance(time, datetime):
        return time.astimezone(UTC).replace(tzinfo=None).isoformat()
    return str(time.isoformat())


def _of_column(operand: ColumnOperand, operator: Operator, value: Any, moment: Moment) -> Condition:
    if operator in OF_TEXT:
        return _of_text(operand.column, operator, value)
    window = time_window(operator, value, operand.kind, moment)
    if window is not None:
        return sa.and_(operand.column >= window[0], operand.column < window[1])
    if operator is Operator.IN and operand.scale is None:
        return _among(operand.column, [_raw(operand.kind, item) for item in value], _SQL_TYPES[operand.kind])
    items = value if isinstance(value, list) else [value]
    return _plain(operand.column, operator, [_constant(operand, item) for item in items])


def _among(column: Expression, constants: list[Any], each: sa.types.TypeEngine[Any]) -> Condition:
    return column == sa.any_(sa.bindparam(None, constants, type_=ARRAY(each)))


def _raw(kind: AttributeType, item: Any) -> Any:
    return Decimal(str(item)) if kind is AttributeType.NUMBER else read(kind, item)


def _constant(operand: ColumnOperand, item: Any) -> Any:
    if operand.kind is not AttributeType.NUMBER:
        return _raw(operand.kind, item)
    return _number(item) if operand.scale is None else _numeric(item) * operand.scale


def _number(value: Any) -> sa.BindParameter[Any]:
    """A bound number. A whole one stays whole, so that counts need not be turned into `numeric` to be compared."""
    if isinstance(value, int) and abs(value) < 2**63:
        return sa.bindparam(None, value, type_=sa.BigInteger())
    return _numeric(value)


def _numeric(value: Any) -> sa.BindParameter[Any]:
    return sa.bindparam(None, Decimal(str(value)), type_=sa.Numeric())


def _plain(column: sa.ColumnElement[Any], operator: Operator, items: Sequence[Any]) -> Condition:
    if operator in (Operator.EQ, Operator.IN):  # many only where a scale makes each its own expression
        return sa.or_(*(column == item for item in items))
    if operator is Operator.BETWEEN:
        return sa.and_(column >= items[0], column <= items[1])
    return _ordered(operator, column, items[0])


def _ordered(operator: Operator, column: Expression, bound: Any) -> Condition:
    compared: dict[Operator, Condition] = {
        Operator.LT: column < bound,
        Operator.LTE: column <= bound,
        Operator.GT: column > bound,
        Operator.GTE: column >= bound,
    }
    return compared[operator]
