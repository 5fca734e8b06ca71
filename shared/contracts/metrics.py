"""What is counted about a customer: the messages about metrics (experiments service)."""

from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints, ValidationError, field_validator, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from shared.contracts.base import Currency, Instant, Key, Message, Money, NewKey, Number, Whole, WithoutNul
from shared.contracts.comparisons import OF_TIME, Comparison, PropertyName

EventKind = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,59}$")]

MONEY = ("revenue", "profit")


class MetricKind(StrEnum):
    PROPORTION = "proportion"
    COUNT = "count"
    REVENUE = "revenue"
    PROFIT = "profit"


class Direction(StrEnum):
    UP = "up"
    DOWN = "down"


class Observable(StrEnum):
    """Who can show the response at all: everybody, or only those who were contacted."""

    ALL_ARMS = "all_arms"
    CONTACTED = "contacted"


class Maturity(StrEnum):
    """`closed`: only customers whose window has ended count. `open`: all of them, as far as they are."""

    CLOSED = "closed"
    OPEN = "open"


def _about_values(comparison: Comparison) -> Comparison:
    if comparison.is_ in OF_TIME:
        raise ValueError(f"`{comparison.is_}` counts from the moment of evaluation, which a metric does not have")
    return comparison


Where = Annotated[dict[PropertyName, Annotated[Comparison, AfterValidator(_about_values)]], Field(max_length=20)]


class CountedEvent(Message):
    """A kind of event that counts, added (`sign: 1`) or taken away (`sign: -1`, a refund)."""

    event: EventKind
    sign: Literal[1, -1] = 1
    where: Where = Field(default_factory=dict)


class NewMetric(Message):
    """A metric. One number per customer: what happened in [t0, t0 + `window_days`).

    `event` is short for one counted event; `where` (comparisons with properties) holds for every counted event. `value`
    names the property that is added up instead of the event's own value (for `count`: instead of one per event). Money
    is in `currency` (default: the installation's). `margin` is the share of revenue that is left as profit.
    """

    key: NewKey
    name: Annotated[str, StringConstraints(max_length=200), WithoutNul] | None = None
    kind: MetricKind
    event: EventKind | None = None
    events: list[CountedEvent] = Field(default_factory=list, max_length=20)
    where: Where = Field(default_factory=dict)
    value: PropertyName | None = None
    window_days: Whole = Field(ge=1, le=730)
    direction: Direction = Direction.UP
    observable: Observable = Observable.ALL_ARMS
    maturity: Maturity = Maturity.CLOSED
    cap: Money | None = None
    margin: Number | None = Field(default=None, gt=0, le=1)
    currency: Currency | None = None

    @field_validator("cap")
    @classmethod
    def _positive_cap(cls, cap: Money | None) -> Money | None:
        if cap is not None and cap <= 0:
            raise ValueError("must be more than zero")
        return cap

    @field_validator("events")
    @classmethod
    def _something_is_added(cls, events: list[CountedEvent]) -> list[CountedEvent]:
        if events and all(counted.sign < 0 for counted in events):
            raise ValueError("at least one event must be added (`sign: 1`)")
        return events

    @model_validator(mode="after")
    def _fits_together(self) -> "NewMetric":
        money = self.kind in MONEY
        if (self.event is None) == (not self.events):
            raise ValueError("name either `event` or `events`")
        if self.kind is MetricKind.PROPORTION and any(counted.sign < 0 for counted in self.events):
            raise ValueError("a proportion asks whether a response happened: nothing can be taken away")
        if self.kind is MetricKind.PROPORTION and (self.value or self.cap is not None):
            raise ValueError("a proportion has no `value` and no `cap`")
        if self.kind is MetricKind.PROFIT and (self.margin is None or self.cap is not None):
            error = PydanticCustomError("missing", "profit needs a `margin` and takes no `cap`")
            place = InitErrorDetails(type=error, loc=("margin" if self.margin is None else "cap",), input=None)
            raise ValidationError.from_exception_data("metric", [place])
        if self.kind is not MetricKind.PROFIT and self.margin is not None:
            raise ValueError("`margin` belongs to profit")
        if not money and self.currency is not None:
            raise ValueError("`currency` belongs to revenue and profit")
        return self

    def counted(self) -> list[CountedEvent]:
        """The counted events with the metric's own `where` put into each; an event's own condition wins."""
        events = self.events or [CountedEvent(event=self.event or "")]
        return [each.model_copy(update={"where": {**self.where, **each.where}}) for each in events]


class Metric(NewMetric):
    """A stored version of a metric. A change is a new version; running experiments keep theirs."""

    key: Key
    id: UUID
    version: int
    currency: str | None = None
    created_at: Instant
