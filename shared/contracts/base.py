"""The types every message is made of. What they refuse, no service ever sees."""

import math
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, NoReturn, TypeVar
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    ValidationError,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from shared.contact_data import holds_contact_data
from shared.contracts.currencies import CURRENCIES
from shared.magnitudes import is_decimal

M = TypeVar("M", bound=BaseModel)

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)
_ID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
NO_BLANKS = "must not begin or end with a blank: the same id without it would be somebody else"
NO_ADDRESS = "must not hold an e-mail address or telephone number"


class Message(BaseModel):
    """A frozen message: it can be passed anywhere, and a misspelt field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)


def read(kind: type[M], told: Any) -> M:
    """A message that a peer answered (JSON) or that was stored, by a later release perhaps: what it adds is left out.

    Rules (clauses) stay strict, for one that is read in part means somebody else.
    """
    if isinstance(told, bytes | str):
        return kind.model_validate_json(told, extra="ignore")
    return kind.model_validate(told, extra="ignore")


def in_words(message: str) -> str:
    """What a validator said, without what Pydantic puts before it."""
    return message.removeprefix("Value error, ")


def refuse_at(place: tuple[str | int, ...], message: str, given: Any = None) -> NoReturn:
    """From inside a validator: report `message` at `place`, counted from the value that is being validated."""
    error = PydanticCustomError("rule", "{message}", {"message": message})
    raise ValidationError.from_exception_data("rule", [InitErrorDetails(type=error, loc=place, input=given)])


def _without_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("must not contain the character NUL")
    return text


def _written(given: Any) -> Any:
    """A number, also as text, is no instant: nobody could say whether it counts seconds or milliseconds."""
    if (isinstance(given, str) and given[4:5] == "-") or isinstance(given, datetime):
        return given
    raise ValueError("must be an instant by RFC 3339, such as 2026-03-01T12:30:00Z")


def _decimal(given: Any) -> Any:
    if isinstance(given, str) and not is_decimal(given):
        raise ValueError("must be a number, written with the digits 0 to 9 and a point, such as 12.50")
    return given


def _currency(code: str) -> str:
    if code not in CURRENCIES:
        raise ValueError("is no currency by ISO 4217")
    return code


def _in_range(instant: datetime) -> datetime:
    if not EARLIEST <= instant < LATEST:  # compared first: at either end of the calendar UTC lies outside of it
        raise ValueError("must lie between the years 2000 and 2200")
    return instant.astimezone(UTC)


def as_id(reference: str) -> UUID | None:
    """The id that a reference to something by key or id is, if it is one: with its hyphens, in letters of any case.

    Without hyphens it may be a key, the MD5 of something for example.
    """
    return UUID(reference) if _ID.fullmatch(reference) else None


def _no_id(key: str) -> str:
    if as_id(key) is None:
        return key
    raise ValueError("must not have the form of an id (UUID), for what has a key is found by its id, too")


def _trimmed(customer_id: str) -> str:
    if customer_id != customer_id.strip():
        raise ValueError(NO_BLANKS)
    return _without_nul(customer_id)


def _no_address(text: str) -> str:
    if holds_contact_data(text):
        raise ValueError(NO_ADDRESS)
    return text


def _storable(value: Any) -> Any:
    """JSON as Postgres can hold it: no NaN, no infinity, no NUL; anything else stays as it is."""
    if isinstance(value, str):
        return _without_nul(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("must not contain NaN or an infinity")
    if isinstance(value, list):
        return [_storable(item) for item in value]
    if isinstance(value, dict):
        return {_without_nul(str(name)): _storable(item) for name, item in value.items()}
    if value is None or isinstance(value, bool | int | float):
        return value
    raise ValueError("must be a JSON value")


WithoutNul = AfterValidator(_without_nul)
"""After the constraints of a text, or else what is too long is said to have too many items."""
Text = Annotated[str, WithoutNul]
CustomerId = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_without_nul)]
NewCustomerId = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_trimmed)]
"""The id in what is told of a customer. What an earlier release stored may have blanks, and can be asked for."""
Key = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,99}$")]
NewKey = Annotated[Key, AfterValidator(_no_id)]
"""The key of what is to be made and can be looked up by key or id. What is stored may have another."""
Name = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_without_nul)]
WithoutAddress = AfterValidator(_no_address)
Written = BeforeValidator(_written)
Instant = Annotated[AwareDatetime, AfterValidator(_in_range), Written]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$"), AfterValidator(_currency)]
DecimalText = BeforeValidator(_decimal)
Money = Annotated[
    Decimal,
    DecimalText,
    Field(max_digits=20, decimal_places=6, allow_inf_nan=False),
    PlainSerializer(lambda amount: format(amount, "f"), return_type=str, when_used="json"),
]
Whole = Annotated[int, Field(strict=True)]
"""A whole number in a body; `"3"`, `3.0` and `true` are none. In a file of CSV, where all is text, no field is one."""
Number = Annotated[float, Field(strict=True)]
Flag = Annotated[bool, Field(strict=True)]
JsonValue = Annotated[Any, AfterValidator(_storable)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
