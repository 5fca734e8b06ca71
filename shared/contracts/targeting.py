"""Campaigns and frozen target lists."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import Field, StringConstraints, model_validator

from shared.contracts.audience import AttributeName
from shared.contracts.base import (
    Currency,
    Flag,
    Instant,
    JsonValue,
    Key,
    Message,
    Money,
    Name,
    NewKey,
    Number,
    Whole,
    WithoutAddress,
    WithoutNul,
    refuse_at,
)
from shared.contracts.scopes import Channel, Purpose


class CampaignContent(Message):
    """What lists, experiments and events refer to. `budget` is an amount of `currency`."""

    key: Key
    name: Name
    brand: Key = "default"
    purpose: Purpose
    budget: Annotated[Money, Field(ge=0)] | None = None
    currency: Currency | None = None
    send_at: Instant | None = None
    owner: Annotated[str, StringConstraints(max_length=200), WithoutNul] | None = None

    @model_validator(mode="after")
    def _budget_has_currency(self) -> Self:
        if (self.budget is None) != (self.currency is None):
            missing = "currency" if self.currency is None else "budget"
            refuse_at((missing,), "`budget` and `currency` belong together")
        return self


class NewCampaign(CampaignContent):
    key: NewKey
    name: Annotated[Name, WithoutAddress]
    channel: Channel
    owner: Annotated[str, StringConstraints(max_length=200), WithoutNul, WithoutAddress] | None = None


class Campaign(CampaignContent):
    id: UUID
    channel: str
    currency: str | None = None
    created_at: datetime


class Reference(Message):
    """Names an attribute or a trait."""

    attribute: AttributeName | None = None
    trait: AttributeName | None = None

    @model_validator(mode="after")
    def _one(self) -> "Reference":
        if (self.attribute is None) == (self.trait is None):
            raise ValueError("name either an `attribute` or a `trait`")
        return self


class RankBy(Reference):
    """Order of preference by a number; customers without the value, or who object to profiling, come last."""

    order: Literal["descending", "ascending"] = "descending"


class MaxContacts(Message):
    """A customer with `count` contacts within the last `days` days gets no more.

    The days are those before the list is built, whatever its `as_of`, for it is sent afterwards. What other lists have
    reserved counts; service messages are neither limited nor counted.
    """

    count: Whole = Field(ge=1, le=1000)
    days: Whole = Field(ge=1, le=366)


class NewTargetList(Message):
    """A list to be frozen: a segment's members at `as_of`, screened, ranked, limited, with a holdout drawn from it.

    `segment_id` is a segment's id or key. Brand, channel and purpose are the campaign's where one is named. `seed`
    decides all that is left to chance (ties, the order without `rank_by`, the holdout); it defaults to the name, so a
    dry run shows exactly the list that the same call will build. `strata` are attributes and traits within whose
    combinations the holdout is drawn evenly. With `dry_run` nothing is stored.
    """

    name: Annotated[Name, WithoutAddress]
    segment_id: Annotated[str, StringConstraints(min_length=1, max_length=100), WithoutNul]
    campaign: Key | None = None
    brand: Key | None = None
    channel: Channel | None = None
    purpose: Purpose | None = None
    rank_by: RankBy | None = None
    limit: Whole | None = Field(default=None, ge=1, le=1_000_000_000)
    strata: list[Reference] = Field(default_factory=list, max_length=5)
    holdout_share: Number = Field(default=0.0, ge=0, lt=1)
    max_contacts: MaxContacts | None = None
    seed: Annotated[Name, WithoutAddress] | None = None
    as_of: Instant | None = None
    valid_hours: Whole = Field(default=72, ge=1, le=8760)
    dry_run: Flag = False

    @model_validator(mode="after")
    def _scope_known(self) -> "NewTargetList":
        for field, said in (("channel", self.channel), ("purpose", self.purpose)):
            if self.campaign is None and said is None:
                refuse_at((field,), "name a `campaign`, or both `channel` and `purpose`")
        return self


FunnelName = Literal[
    "matched",
    "reachable",
    "permitted",
    "not suppressed",
    "not fatigued",
    "not in global control",
    "ranked and limited",
    "holdout drawn",
    "selected",
]


class FunnelStep(Message):
    """`count` customers are left after the step, which took away `removed`."""

    step: FunnelName
    count: int
    removed: int


class ListState(StrEnum):
    BUILT = "built"
    RELEASED = "released"
    EXPIRED = "expired"


class TargetList(Message):
    """A frozen list. `count` members are to be contacted, `held_out` more are stored but never contacted.

    `digest` (SHA-256, hex) covers the ordered members: over lines `["customer_id", "stratum", held_out]`, by rank.
    `as_of` is the instant whose events counted, `known_at` the instant at which the database was asked.
    A dry run has no `id`.
    """

    id: UUID | None
    name: str
    campaign: str | None
    segment_id: UUID
    segment_key: str
    segment_version: int
    brand: str
    channel: str
    purpose: str
    rank_by: RankBy | None
    limit: int | None
    strata: list[Reference]
    holdout_share: float
    max_contacts: MaxContacts | None
    global_control_share: float
    seed: str
    as_of: datetime
    known_at: datetime
    count: int
    held_out: int
    digest: str
    funnel: list[FunnelStep]
    state: ListState
    built_at: datetime
    released_at: datetime | None
    expires_at: datetime


class ListMember(Message):
    """One member. `probability` is the chance with which members of its stratum are held out.

    `features` are attributes (not personal ones) and traits as they were at `as_of`, by name.
    """

    customer_id: str
    rank: int
    stratum: str
    held_out: bool
    probability: float
    features: dict[str, JsonValue]


class MemberChange(Message):
    customer_id: str
    change: Literal["added", "removed"]


class ListDifference(Message):
    """What changed: members that only this list has (`added`), only the other (`removed`), and both (`kept`)."""

    added: int
    removed: int
    kept: int
    items: list[MemberChange]
    next_cursor: str | None = None
