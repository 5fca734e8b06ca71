"""What feedback says and is told: events, verdicts on them, model runs and refinements."""

import math
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, Field, PlainSerializer, StringConstraints

from shared.contracts.base import (
    EARLIEST,
    LATEST,
    Currency,
    CustomerId,
    DecimalText,
    Instant,
    JsonValue,
    Key,
    Message,
    WithoutAddress,
    WithoutNul,
    Written,
    refuse_at,
)
from shared.magnitudes import is_countable

EventId = Annotated[CustomerId, "the sender's own name for the event; unique for its customer"]
Kind = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,59}$")]
Door = Literal["one", "list", "ndjson", "csv", "retry"]
RejectCode = Literal["rejected", "conflict", "unreadable"]


LONGEST_AMOUNT = 40


def _held(value: Decimal) -> Decimal:
    """What `numeric` keeps exactly and no sum overflows."""
    if not -13 < value.adjusted() < 20 or len(str(value)) > LONGEST_AMOUNT:
        raise ValueError("must be 0, or between 1e-12 and 1e20 on either side of it, with at most 40 characters")
    return value


AsDigits = PlainSerializer(lambda amount: format(amount, "f"), return_type=str, when_used="json")
Amount = Annotated[Decimal, DecimalText, Field(allow_inf_nan=False), AfterValidator(_held), AsDigits]


DEEPEST = 32


def _holdable(value: Any, depth: int = 0) -> None:
    """Raise where JSON is more than `jsonb` and its readers hold: NaN, NUL, whole numbers past 64 bits,
    others past 1e20, depth past 32.
    """
    kind = type(value)
    if kind is str:
        if "\x00" in value:
            raise ValueError("must not contain the character NUL")
    elif kind is int:
        if not -(2**63) <= value < 2**63:
            raise ValueError("must not contain an integer beyond 64 bits")
    elif kind is float:
        if not math.isfinite(value):
            raise ValueError("must not contain NaN or an infinity")
        if not is_countable(value):
            raise ValueError("must not contain a number beyond 1e20")
    elif kind is dict or kind is list:
        _holdable_within(value, depth + 1)
    elif value is not None and kind is not bool:
        raise ValueError("must be a JSON value")


def _holdable_within(value: Any, depth: int) -> None:
    if depth > DEEPEST:
        raise ValueError(f"must not be nested deeper than {DEEPEST} levels")
    for item in value:
        _holdable(item, depth)
    if type(value) is dict:
        for item in value.values():
            _holdable(item, depth)


def _properties(value: dict[str, Any]) -> dict[str, Any]:
    for name, item in value.items():
        if "\x00" in name:
            raise ValueError("must not contain the character NUL")
        if type(item) is not bool and item is not None:
            try:
                _holdable(item, 1)
            except ValueError as error:
                refuse_at((name, *_within(item, 1)), str(error))
    return value


def _within(value: Any, depth: int) -> tuple[str | int, ...]:
    """The place within `value` of what `_holdable` refuses. Asked for once something was refused: it takes longer."""
    if type(value) is dict or type(value) is list:
        for place, item in value.items() if type(value) is dict else enumerate(value):
            try:
                _holdable(item, depth + 1)
            except ValueError:
                return (place, *_within(item, depth + 1))
    return ()


Properties = Annotated[dict[str, Any], AfterValidator(_properties)]


class Event(Message):
    """Something a customer did, said or was sent.

    `value` is an amount (of `currency`, where it is money) or a measured figure; the kind says which, and carries the
    sign: a refund of 10 has the value 10. Without `event_id` the event gets one made of its content, so that sending it
    again is a duplicate. What `properties` may and must hold depends on the kind (`GET /v1/kinds`).
    """

    event_id: EventId | None = None
    customer_id: CustomerId
    kind: Kind
    occurred_at: Annotated[AwareDatetime, Field(ge=EARLIEST, lt=LATEST), Written]
    value: Amount | None = None
    currency: Currency | None = None
    text: Annotated[str, StringConstraints(max_length=20_000), WithoutNul] | None = None
    properties: Properties | None = None
    campaign: Key | None = None
    target_list: UUID | None = None
    experiment: Key | None = None
    arm: Key | None = None


class RecordedEvent(Message):
    """An event as it is kept, with the arrival it came with (`batch_id`).

    What events may hold when they are sent does not bind what is kept: hashes are longer than the addresses they stand
    for, and an earlier release may have taken what is refused today.
    """

    event_id: str
    customer_id: str
    kind: str
    occurred_at: datetime
    value: Annotated[Decimal, AsDigits] | None = None
    currency: str | None = None
    text: str | None = None
    properties: dict[str, Any] | None = None
    campaign: str | None = None
    target_list: UUID | None = None
    experiment: str | None = None
    arm: str | None = None
    received_at: datetime
    batch_id: int


class Rejected(Message):
    """Why one item was refused. `index` counts the items of the request from 0; `pointer` points into the item."""

    index: int
    pointer: str
    detail: str


class Reason(Message):
    """How many items of a request were refused for the same reason."""

    pointer: str
    detail: str
    count: int


class IngestReport(Message):
    """The verdict on every item of a request: accepted + duplicates + conflicts + refused = items.

    `duplicates` were there already with the same content; `conflicts` have the id of an event with other content and
    were not applied. `rejected` lists the first 10,000 refusals, `refused` and `reasons` count all of them.
    """

    accepted: int = 0
    duplicates: int = 0
    conflicts: int = 0
    rejected: list[Rejected] = Field(default_factory=list)
    refused: int = 0
    reasons: list[Reason] = Field(default_factory=list)


class Reject(Message):
    """An item that was not taken, with what is wrong with it. Personal fields of `raw` are keyed hashes.

    `whole` says that `raw` is all that was sent (it can be retried as it is); `retried_at` when a retry took it.
    """

    id: UUID
    received_at: datetime
    door: Door
    code: RejectCode
    index: int
    pointer: str
    detail: str
    raw: str
    whole: bool
    request_id: str
    retried_at: datetime | None = None


class Retry(Message):
    """One reject to try again, as it was sent or as `event` says now."""

    id: UUID
    event: dict[str, Any] | None = None


class NewRetry(Message):
    """Rejects to try again after a mend."""

    rejects: Annotated[list[Retry], Field(min_length=1, max_length=1000)]


class TrainRfm(Message):
    """How to score recency, frequency and monetary value.

    Purchases are events of `kind` (`order`, or `order_line` where lines carry the money); events of a customer that
    share the property named by `purchase` are one purchase. Everything counts that occurred before `as_of` (default
    now). `currency` defaults to the one that all these purchases are in, or the installation's where there are several;
    what is in another is left out and counted. Cancellations and refunds are kinds of their own and are not deducted.
    """

    kind: Literal["order", "order_line"] = "order"
    purchase: Annotated[str, StringConstraints(min_length=1, max_length=100), WithoutNul] = "order_id"
    as_of: Instant | None = None
    currency: Currency | None = None


class ModelRun(Message):
    """One run of a model. `window` is the time its data cover; `metrics` are the figures it ended with."""

    id: UUID
    model: Literal["rfm"]
    state: Literal["training", "published", "delivered", "failed", "cancelled"]
    active: bool
    parameters: dict[str, JsonValue]
    window: dict[str, JsonValue]
    metrics: dict[str, JsonValue]
    customers: int
    job: UUID | None
    created_at: datetime
    published_at: datetime | None = None
    delivered_at: datetime | None = None


class NewRefinement(Message):
    """Ask how a segment could be better, judged by what an experiment on it found for one of its metrics."""

    experiment: Key
    segment_id: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    metric: Key


class Refinement(Message):
    """A search for a better segment and its verdict.

    `state`: searching; `proposed` (a change was confirmed on customers the search never saw and waits for a decision);
    `nothing` (no change was shown to be better; the usual outcome); `accepting` (decided, and the segment is being
    revised: accept again where that broke off); accepted; rejected; failed; cancelled. `proposal` numbers the
    proposals tried on this experiment, `alpha` is the share of error this one may spend. `definition` is the proposed
    rule in the segment language; `evidence` holds what the search saw and what the confirmation showed.
    `searched_version` of the segment is what would be changed, `new_version` what accepting made.
    """

    id: UUID
    experiment: str
    segment_id: str
    metric: str
    state: Literal["searching", "proposed", "nothing", "accepting", "accepted", "rejected", "failed", "cancelled"]
    verdict: str
    proposal: int | None
    alpha: float | None
    definition: JsonValue | None
    evidence: dict[str, JsonValue]
    searched_version: int | None
    new_version: int | None
    reason: str | None
    job: UUID | None
    created_at: datetime
    decided_at: datetime | None = None


class Rejection(Message):
    """Why a proposed refinement was turned down."""

    reason: Annotated[str, StringConstraints(min_length=1, max_length=2000), WithoutNul, WithoutAddress]
