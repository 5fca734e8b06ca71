"""Comparing a value of a customer or an event: the operators of the segment language, and what values each takes."""

import math
from enum import StrEnum
from typing import Annotated, Any, TypeAlias

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    PlainValidator,
    StringConstraints,
    ValidationInfo,
    field_validator,
)

from shared.contracts.base import Message

MAX_DAYS = 36_600

Scalar: TypeAlias = bool | int | float | str
Value: TypeAlias = Scalar | list[Scalar]


class Operator(StrEnum):
    """How a value is compared. `ne` and `not_in` are the complements of `eq` and `in`: they hold where no value is.

    `between` includes both ends. `within_last`, `within_next` (days), `between_ago` (from, to: days before) and
    `anniversary_in` (days ahead) are for dates and instants and count from the moment of evaluation.
    """

    EQ = "eq"
    NE = "ne"
    IN = "in"
    NOT_IN = "not_in"
    LT = "lt"
    LTE = "lte"
    GT = "gt"
    GTE = "gte"
    BETWEEN = "between"
    CONTAINS = "contains"
    STARTS_WITH = "starts_with"
    EXISTS = "exists"
    MISSING = "missing"
    WITHIN_LAST = "within_last"
    WITHIN_NEXT = "within_next"
    BETWEEN_AGO = "between_ago"
    ANNIVERSARY_IN = "anniversary_in"


ORDERING = (Operator.LT, Operator.LTE, Operator.GT, Operator.GTE, Operator.BETWEEN)
OF_TEXT = (Operator.CONTAINS, Operator.STARTS_WITH)
OF_TIME = (Operator.WITHIN_LAST, Operator.WITHIN_NEXT, Operator.BETWEEN_AGO, Operator.ANNIVERSARY_IN)
PRESENCE = (Operator.EXISTS, Operator.MISSING)
COMPLEMENTS = {Operator.NE: Operator.EQ, Operator.NOT_IN: Operator.IN, Operator.MISSING: Operator.EXISTS}


def _sound(text: str) -> str:
    """Text that Postgres can hold: no NUL, no half of a surrogate pair."""
    if "\x00" in text:
        raise ValueError("must not contain the character NUL")
    if any(0xD800 <= ord(character) <= 0xDFFF for character in text):
        raise ValueError("must not contain half of a surrogate pair")
    return text


def _scalar(value: Any) -> Scalar:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        if len(value) > 1000:
            raise ValueError("must have at most 1,000 characters")
        return _sound(value)
    if isinstance(value, int | float):
        if not math.isfinite(value) or abs(value) >= 10**30:
            raise ValueError("must be a finite number below 10^30")
        return value
    raise ValueError("must be text, a number, true, false or a list of such")


def _value(value: Any) -> Value | None:
    if value is None:
        return None
    if not isinstance(value, list | tuple):
        return _scalar(value)
    if not 1 <= len(value) <= 1000:
        raise ValueError("must list 1 to 1,000 values")
    items = [_scalar(item) for item in value]
    if len({_kind(item) for item in items}) > 1:
        raise ValueError("must list values of one type")
    return items


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float) else "text"


def absent(value: Any) -> bool:
    return value is None


AnyValue = Annotated[Any, PlainValidator(_value, json_schema_input_type=Value | None)]
PropertyName = Annotated[str, StringConstraints(min_length=1, max_length=100), AfterValidator(_sound)]


def shape_error(operator: Operator, value: Any) -> str | None:
    """What is wrong with a value for this operator, whatever it is compared with; None where it fits."""
    if operator in PRESENCE:
        return None if value is None else f"`{operator}` takes no value"
    if value is None:
        return f"`{operator}` needs a value"
    if operator in (Operator.IN, Operator.NOT_IN):
        return None if isinstance(value, list) else "must be a list"
    if operator in (Operator.BETWEEN, Operator.BETWEEN_AGO):
        return _range_error(operator, value)
    if isinstance(value, list):
        return "must be one value, not a list"
    if operator in OF_TEXT:
        return None if isinstance(value, str) and value else "must be text that is not empty"
    if operator in OF_TIME:
        return None if _is_days(value, above=0) else f"must be a number of days, more than 0 and at most {MAX_DAYS}"
    if operator in ORDERING and isinstance(value, bool):
        return "must be a number, a date or an instant"
    return None


def _range_error(operator: Operator, value: Any) -> str | None:
    if not isinstance(value, list) or len(value) != 2:
        return "must be a list of two values, from and to"
    first, second = value
    if operator is Operator.BETWEEN_AGO:
        fits = _is_days(first, above=0) and _is_days(second, above=-1) and first > second
        return None if fits else "must be two numbers of days before, the longer first, such as [90, 30]"
    if isinstance(first, bool):
        return "must be numbers, dates or instants"
    falling = _kind(first) == "number" and first > second
    return "must not end before it begins" if falling else None


def _is_days(value: Any, above: float) -> bool:
    return _kind(value) == "number" and above < value <= MAX_DAYS and value >= 0


class Comparison(Message):
    """A comparison with a value: `{"is": "eq", "value": "jackets"}`."""

    model_config = ConfigDict(serialize_by_alias=True)

    is_: Operator = Field(alias="is")
    value: AnyValue = Field(default=None, exclude_if=absent, validate_default=True)

    @field_validator("value")
    @classmethod
    def _fits_the_operator(cls, value: Any, info: ValidationInfo) -> Any:
        operator = info.data.get("is_")
        wrong = shape_error(operator, value) if operator is not None else None
        if wrong:
            raise ValueError(wrong)
        return value
