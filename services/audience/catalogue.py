"""What values an attribute may take, and whether its definition makes sense. Pure."""

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime

from services.audience.identity import holds_contact_data
from services.audience.supplement import suits
from shared.contracts.audience import AllowedRange, AttributeType, NewAttribute, Scalar
from shared.contracts.base import NO_ADDRESS
from shared.errors import FieldError
from shared.magnitudes import is_countable

COLUMNS = frozenset({"customer_id", "email", "phone", "profiling"})
"""What a column of these names means in a file of customers is no attribute, in whatever case somebody writes it."""
LONGEST_TEXT = 4000
EXACT_INTEGER = 2**53
FIRST_YEAR, LAST_YEAR = 1850, 2199

Check = Callable[[object], Scalar]
"""Gives the value as it is kept, or raises ValueError saying what is wrong, without quoting the value."""

_DATE = re.compile(r"^\d{4}-\d{2}-\d{2}$", re.ASCII)
_INSTANT = re.compile(r"^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})$", re.ASCII)


def check_of(definition: NewAttribute) -> Check:
    """The check for one attribute's values."""
    of_type = _TYPES[definition.type]
    allowed = definition.allowed
    if isinstance(allowed, AllowedRange):
        return _within(of_type, allowed)
    if allowed is not None:
        return _among(of_type, [of_type(value) for value in allowed])
    return of_type


def checks_of(definitions: Mapping[str, NewAttribute]) -> dict[str, Check]:
    """The checks of a whole catalogue, by attribute."""
    return {name: check_of(definition) for name, definition in definitions.items()}


def with_kept_constant(definition: NewAttribute) -> NewAttribute:
    """A definition without `problems`, with the constant that fills gaps in the form in which values are kept."""
    supplement = definition.supplement
    if supplement is None or supplement.value is None:
        return definition
    kept = supplement.model_copy(update={"value": check_of(definition)(supplement.value)})
    return definition.model_copy(update={"supplement": kept})


def problems(definition: NewAttribute) -> list[FieldError]:
    """What is wrong with a definition: allowed values of another type, a supplement that cannot work."""
    found = _problems_of_allowed(definition)
    supplement = definition.supplement
    if supplement is not None and not suits(supplement.method, definition):
        found.append(FieldError("/supplement/method", f"{supplement.method} does not suit this attribute"))
    if supplement is not None and supplement.value is not None and not found:
        try:
            check_of(definition)(supplement.value)
        except ValueError as error:
            found.append(FieldError("/supplement/value", str(error)))
    return found


def _problems_of_allowed(definition: NewAttribute) -> list[FieldError]:
    allowed = definition.allowed
    if isinstance(allowed, AllowedRange):
        fits = definition.type is AttributeType.NUMBER
        return [] if fits else [FieldError("/allowed", "only a number can have bounds")]
    found = []
    for index, value in enumerate(allowed or []):
        try:
            _TYPES[definition.type](value)
        except ValueError as error:
            found.append(FieldError(f"/allowed/{index}", str(error)))
    return found


def number(value: object) -> Scalar:
    """A number that every reader takes for the same: whole up to 2^53, others up to 1e20. Else raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be a number")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("must be a finite number")
    if isinstance(value, int) and abs(value) > EXACT_INTEGER:
        raise ValueError("must not be a whole number beyond 2^53")
    if not is_countable(value):
        raise ValueError("must not be a number beyond 1e20")
    return value


def _text(value: object) -> Scalar:
    if not isinstance(value, str):
        raise ValueError("must be a text")
    if not value:
        raise ValueError("must not be an empty text; null deletes a value")
    if len(value) > LONGEST_TEXT:
        raise ValueError(f"must not be longer than {LONGEST_TEXT} characters")
    if not _storable(value):
        raise ValueError("must not hold the character NUL, half a character or the replacement character")
    if holds_contact_data(value):
        raise ValueError(f"{NO_ADDRESS}; give it under identities")
    return value


def _storable(text: str) -> bool:
    return (text.isascii() and "\x00" not in text) or not any(_broken(character) for character in text)


def _broken(character: str) -> bool:
    return character in "\x00�" or "\ud800" <= character <= "\udfff"


def _boolean(value: object) -> Scalar:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _date(value: object) -> Scalar:
    if not isinstance(value, str) or not _DATE.match(value):
        raise ValueError("must be a date like 2024-02-29")
    try:
        found = date.fromisoformat(value)
    except ValueError:
        raise ValueError("must be a day that exists") from None
    _check_year(found.year)
    return value


def _instant(value: object) -> Scalar:
    if not isinstance(value, str) or not _INSTANT.match(value):
        raise ValueError("must be an instant with a zone, like 2024-02-29T09:30:00Z")
    try:
        found = datetime.fromisoformat(value.upper().replace("Z", "+00:00")).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("must be an instant that exists") from None
    _check_year(found.year)
    return found.isoformat().replace("+00:00", "Z")


def _check_year(year: int) -> None:
    if not FIRST_YEAR <= year <= LAST_YEAR:
        raise ValueError(f"must lie between the years {FIRST_YEAR} and {LAST_YEAR}")


def _among(of_type: Check, allowed: list[Scalar]) -> Check:
    members = frozenset(allowed)

    def check(value: object) -> Scalar:
        kept = of_type(value)
        if kept not in members:
            raise ValueError("must be one of the allowed values")
        return kept

    return check


def _within(of_type: Check, bounds: AllowedRange) -> Check:
    low = -math.inf if bounds.minimum is None else bounds.minimum
    high = math.inf if bounds.maximum is None else bounds.maximum
    told = f"must {_bounds(low, high)}"

    def check(value: object) -> Scalar:
        kept = of_type(value)
        if not isinstance(kept, int | float) or not low <= kept <= high:
            raise ValueError(told)
        return kept

    return check


def _bounds(low: float, high: float) -> str:
    if low == -math.inf:
        return f"be at most {high:.15g}"
    return f"be at least {low:.15g}" if high == math.inf else f"lie between {low:.15g} and {high:.15g}"


_TYPES: dict[AttributeType, Check] = {
    AttributeType.NUMBER: number,
    AttributeType.TEXT: _text,
    AttributeType.BOOLEAN: _boolean,
    AttributeType.DATE: _date,
    AttributeType.INSTANT: _instant,
}
