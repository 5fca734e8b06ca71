"""Who may be contacted: consent with its history, contact points, suppressions, and the check at sending."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, StringConstraints, model_validator

from shared.contracts.base import CustomerId, Instant, JsonValue, Key, Message, WithoutNul, refuse_at
from shared.contracts.scopes import Channel, Purpose

DEFAULT_BRAND = "default"
AddressHash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class ConsentState(StrEnum):
    """Where a permission stands. `granted`, `soft_opt_in` and `legitimate_interest` permit; nothing else does."""

    UNKNOWN = "unknown"
    PENDING = "pending"
    GRANTED = "granted"
    SOFT_OPT_IN = "soft_opt_in"
    LEGITIMATE_INTEREST = "legitimate_interest"
    DENIED = "denied"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"

    @property
    def permits(self) -> bool:
        return self in (ConsentState.GRANTED, ConsentState.SOFT_OPT_IN, ConsentState.LEGITIMATE_INTEREST)

    @property
    def refuses(self) -> bool:
        return self in (ConsentState.DENIED, ConsentState.WITHDRAWN)


class ConsentStatement(Message):
    """A statement about permission. `brand`, `purpose`: null covers every one, which only a refusal may do.

    Without `at` it holds from its arrival. A clock that runs ahead is believed of a refusal only (up to a day): a
    permission is never dated after its arrival. It may end by itself (`expires_at`).
    """

    purpose: Purpose | None = None
    state: ConsentState
    brand: Key | None = DEFAULT_BRAND
    at: Instant | None = None
    source: Annotated[str, StringConstraints(min_length=1, max_length=200), WithoutNul]
    wording: Annotated[str, StringConstraints(max_length=4000), WithoutNul] | None = None
    evidence: dict[str, JsonValue] | None = None
    expires_at: Instant | None = None

    @model_validator(mode="after")
    def _scope_fits(self) -> "ConsentStatement":
        if not self.state.refuses and self.purpose is None:
            refuse_at(("purpose",), "only a refusal (`denied`, `withdrawn`) may leave out the purpose")
        if not self.state.refuses and self.brand is None:
            refuse_at(("brand",), "only a refusal (`denied`, `withdrawn`) may cover every brand")
        if self.expires_at is not None and not self.state.permits:
            refuse_at(("expires_at",), "only a permission can expire")
        return self


class NewConsent(ConsentStatement):
    """A statement about permission on a channel; a refusal without `channel` covers every channel.

    A load repeats what its source once knew: without `at`, only a refusal counts against what was said since, anything
    else is taken only where nothing was said.
    """

    channel: Channel | None = None

    @model_validator(mode="after")
    def _channel_fits(self) -> "NewConsent":
        if not self.state.refuses and self.channel is None:
            refuse_at(("channel",), "only a refusal (`denied`, `withdrawn`) may leave out the channel")
        return self


class Consent(Message):
    """A recorded statement about permission. Null in `brand`, `channel` or `purpose` covers every one."""

    customer_id: str
    brand: str | None
    channel: str | None
    purpose: str | None
    state: ConsentState
    at: datetime
    source: str
    wording: str | None = None
    evidence: dict[str, JsonValue] | None = None
    expires_at: datetime | None = None
    recorded_at: datetime


class StatedConsent(Consent):
    """What was recorded; `warnings` say what it may not have meant."""

    warnings: list[str] = Field(default_factory=list)


class ContactStatus(StrEnum):
    """Only `active` contact points can be reached."""

    ACTIVE = "active"
    BOUNCED = "bounced"
    CLOSED = "closed"


class ContactPointContent(Message):
    """How a sending tool reaches a customer: its own opaque handle, or a keyed hash of the address (hex).

    Without either it speaks of the address that is known, whose `status` then changes only if it is said.
    """

    handle: Annotated[str, StringConstraints(min_length=1, max_length=200), WithoutNul] | None = None
    address_hash: AddressHash | None = None
    status: ContactStatus = ContactStatus.ACTIVE
    verified_at: Instant | None = None


class NewContactPoint(ContactPointContent):
    channel: Channel


class ContactPoint(ContactPointContent):
    channel: str
    updated_at: datetime


class NewSuppression(Message):
    """Do not contact: on one channel, or (without `channel`) on none; for ever, or until `ends_at`."""

    customer_id: CustomerId
    channel: Channel | None = None
    reason: Annotated[str, StringConstraints(min_length=1, max_length=500), WithoutNul]
    ends_at: Instant | None = None


class Lift(Message):
    """Why a do-not-contact entry is lifted."""

    reason: Annotated[str, StringConstraints(min_length=1, max_length=500), WithoutNul]


class Lifted(Lift):
    """When, why and by whom (the id of the API key) an entry was lifted."""

    at: datetime
    by: str


class Suppression(NewSuppression):
    """A do-not-contact entry. Once `lifted` it is in force no more; it stays on record."""

    customer_id: str
    id: UUID
    created_at: datetime
    lifted: Lifted | None = None


class SendCheckRequest(Message):
    """Who of these may be sent to now?

    With a `target_list_id` the list says brand, channel and purpose, and only its members pass; without one, `channel`
    and `purpose` are needed.
    """

    customer_ids: list[CustomerId] = Field(min_length=1, max_length=1000)
    target_list_id: UUID | None = None
    brand: Key | None = None
    channel: Channel | None = None
    purpose: Purpose | None = None

    @model_validator(mode="after")
    def _scope_known(self) -> "SendCheckRequest":
        for field, said in (("brand", self.brand), ("channel", self.channel), ("purpose", self.purpose)):
            if self.target_list_id is None and said is None and field != "brand":
                refuse_at((field,), "name a `target_list_id`, or both `channel` and `purpose`")
            if self.target_list_id is not None and said is not None:
                refuse_at((field,), "the target list says brand, channel and purpose")
        return self


RefusedBecause = Literal[
    "unknown",
    "not on the list",
    "list expired",
    "held out",
    "not reachable",
    "not permitted",
    "suppressed",
    "in global control",
]


class SendCheck(Message):
    """Sendable, or the first reason why not."""

    customer_id: str
    sendable: bool
    reason: RefusedBecause | None = None


class SendCheckAnswer(Message):
    """One verdict for each id that was asked about, in the order of the question, true at `as_of`."""

    as_of: datetime
    checks: list[SendCheck]
