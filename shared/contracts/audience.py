"""Messages of the audience service: what is known about customers.

Beside this module: `permissions` (who may be contacted), `targeting` (campaigns and target lists) and `segments`
(the rule language).
"""

import math
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import (
    Field,
    PlainSerializer,
    PlainValidator,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from shared.contracts.base import (
    Flag,
    Instant,
    JsonValue,
    Key,
    Message,
    NewCustomerId,
    Number,
    WithoutAddress,
    WithoutNul,
    in_words,
)
from shared.contracts.permissions import Consent, ContactPoint, NewConsent, NewContactPoint


def _scalar(value: Any) -> Any:
    if isinstance(value, str) and "\x00" in value:
        raise ValueError("must not contain the character NUL")
    if not isinstance(value, str | bool | int | float) or value in (math.inf, -math.inf) or value != value:
        raise ValueError("must be a text, a finite number, true or false")
    return value


# One validator instead of a union's, whose errors would point into its branches instead of at the field.
Scalar = Annotated[
    bool | int | float | str, PlainValidator(_scalar), WithJsonSchema({"type": ["string", "number", "boolean"]})
]
"""One attribute value: text, number or boolean; dates and instants are text (`2024-02-29`, `2024-02-29T09:30:00Z`)."""

AttributeName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,99}$")]
Unit = Annotated[str, StringConstraints(max_length=40), WithoutNul]
Description = Annotated[str, StringConstraints(max_length=1000), WithoutNul]
ModelName = Annotated[str, StringConstraints(min_length=1, max_length=200), WithoutNul]


class AttributeType(StrEnum):
    NUMBER = "number"
    TEXT = "text"
    BOOLEAN = "boolean"
    DATE = "date"
    INSTANT = "instant"


class AllowedRange(Message):
    """Bounds of a number, both included; a missing one is open."""

    minimum: Number | None = None
    maximum: Number | None = None

    @model_validator(mode="after")
    def _ordered(self) -> "AllowedRange":
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError("`minimum` must not be above `maximum`")
        return self


def _allowed(value: Any) -> Any:
    if isinstance(value, list) and 1 <= len(value) <= 1000:
        return [_scalar(item) for item in value]
    if isinstance(value, dict):
        try:
            return AllowedRange.model_validate(value)
        except ValidationError as error:
            raise ValueError(f"{in_words(error.errors()[0]['msg'])} (in the bounds)") from error
    if value is None or isinstance(value, AllowedRange):
        return value
    raise ValueError("must be a list of 1 to 1,000 values, or bounds (`minimum`, `maximum`)")


Allowed = Annotated[
    list[Scalar] | AllowedRange | None,
    PlainValidator(_allowed),
    PlainSerializer(lambda allowed: allowed.model_dump() if isinstance(allowed, AllowedRange) else allowed),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "items": {"type": ["string", "number", "boolean"]}, "minItems": 1, "maxItems": 1000},
                {
                    "type": "object",
                    "properties": {"minimum": {"type": "number"}, "maximum": {"type": "number"}},
                    "additionalProperties": False,
                },
                {"type": "null"},
            ]
        }
    ),
]


class Supplement(Message):
    """How a gap is filled: with a fixed value, or with a statistic of the values that are known.

    Filled values are kept apart from what was told (`filled`), and no segment counts them unless it says so.
    """

    method: Literal["constant", "mean", "median", "mode"]
    value: Scalar | None = None

    @model_validator(mode="after")
    def _value_fits(self) -> "Supplement":
        if (self.method == "constant") != (self.value is not None):
            raise ValueError("`value` belongs to the method `constant`, and only to it")
        return self


class NewAttribute(Message):
    """What values an attribute may take. `personal` values never appear in rejects, only their keyed hashes do.

    `allowed` is a list of values, or bounds of a number.
    """

    type: AttributeType
    unit: Annotated[Unit, WithoutAddress] | None = None
    description: Annotated[Description, WithoutAddress] = ""
    allowed: Allowed = None
    personal: Flag = False
    supplement: Supplement | None = None


class AttributeDefinition(NewAttribute):
    """An attribute of the catalogue. `fill_value` is what gaps are filled with at present."""

    name: AttributeName
    unit: Unit | None = None  # as an earlier release took it
    description: Description = ""
    fill_value: Scalar | None = None
    created_at: datetime
    updated_at: datetime


class AttributeDetail(AttributeDefinition):
    """An attribute and how complete it is: `known` of `customers` have a value that somebody told us."""

    customers: int
    known: int
    completeness: float | None


class Identities(Message):
    """Addresses as they are: hashed on arrival (keyed), never stored, never logged."""

    email: Annotated[str, StringConstraints(max_length=320), WithoutNul] | None = None
    phone: Annotated[str, StringConstraints(max_length=40), WithoutNul] | None = None


class PortraitChange(Message):
    """What is newly known of one customer. In a merge a missing attribute keeps its value and null deletes it."""

    attributes: dict[str, JsonValue] = Field(default_factory=dict, max_length=1000)
    identities: Identities | None = None
    contact_points: list[NewContactPoint] = Field(default_factory=list, max_length=20)
    consents: list[NewConsent] = Field(default_factory=list, max_length=100)
    profiling: Flag | None = None


class CustomerRow(PortraitChange):
    """One row of a bulk load. Rows merge in their order: the last one that speaks of a value wins."""

    customer_id: NewCustomerId


class Trait(Message):
    """A value that a model derived: from what, and as of when."""

    value: Scalar
    computed_at: Instant
    model: ModelName


class Portrait(Message):
    """All that is known of one customer. `filled` holds supplemented values, apart from what was told.

    `profiling: false` is an objection: it keeps the customer out of models and rankings, and to segments and lists the
    customer has no traits. `consents` is what was said last of each brand, channel and purpose; of those that cover a
    message the newest decides.
    """

    customer_id: str
    attributes: dict[str, JsonValue]
    filled: dict[str, JsonValue]
    traits: dict[str, Trait]
    profiling: bool
    contact_points: list[ContactPoint]
    consents: list[Consent]
    known_at: datetime
    updated_at: datetime


class Refusal(Message):
    """How many rows were refused for the same reason."""

    pointer: str
    detail: str
    rows: int


class QualityReport(Message):
    """What a bulk load found: rows = accepted + rejected, accepted = customers + duplicates.

    `duplicates` are accepted rows about a customer whom an earlier row of the same load spoke of (they merged);
    `supplemented` counts the load's customers with a gap that was filled, by attribute.
    """

    id: UUID
    kind: Literal["customers"] = "customers"
    format: Literal["json", "ndjson", "csv"]
    state: Literal["running", "finished", "failed"]
    rows: int
    accepted: int
    rejected: int
    duplicates: int
    customers: int
    new_customers: int
    reasons: list[Refusal]
    supplemented: dict[str, int]
    problem: str | None = None
    started_at: datetime
    finished_at: datetime | None = None


class ImportReject(Message):
    """A row that was not taken and every reason why.

    `content` is the row as far as it may be kept: personal values and addresses as keyed hashes, values of undeclared
    fields not at all.
    """

    row: int
    pointer: str
    detail: str
    content: dict[str, JsonValue]


class TraitsRow(Message):
    """Derived traits of one customer, from outside. For each trait the newest `computed_at` stays.

    Rows about customers who object to profiling are refused, and so is a `computed_at` in the future.
    """

    customer_id: NewCustomerId
    traits: dict[AttributeName, Scalar] = Field(min_length=1, max_length=200)
    computed_at: Instant
    model: ModelName


class TraitsRefused(Message):
    """One row of traits that was refused; `index` counts from 0."""

    index: int
    pointer: str
    detail: str


class TraitsReport(Message):
    """What became of a bulk of traits: rows = accepted + refused; `new_customers` were unknown before.

    `rejected` lists the first 10,000 refusals.
    """

    rows: int
    accepted: int
    new_customers: int
    rejected: list[TraitsRefused]
    refused: int


class TraitsPull(Message):
    """Names a model run whose scores are to be taken over, as a set, from the view in which `source` publishes them."""

    source: Key
    run: UUID


class TraitsPulled(Message):
    """What was taken over from a model run; `objecting` customers got nothing, for they object to profiling."""

    source: str
    run: UUID
    customers: int
    new_customers: int
    objecting: int = 0
