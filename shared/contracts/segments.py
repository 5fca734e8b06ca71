"""What audience says about segments and is told. The language of their definitions is in `clauses`."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from pydantic import ConfigDict, Field, StringConstraints

from shared.contracts.audience import AttributeName
from shared.contracts.base import (
    CustomerId,
    Instant,
    JsonValue,
    Key,
    Message,
    Name,
    NewKey,
    Number,
    Whole,
    WithoutAddress,
    WithoutNul,
)
from shared.contracts.clauses import Definition


class NewSegment(Message):
    """A segment: a rule that says who is meant."""

    key: NewKey
    name: Annotated[Name, WithoutAddress] | None = None
    definition: Definition


class Evidence(Message):
    """What an experiment showed of a version before it was made, on customers whom the search for it never saw.

    `gain` is what the version earns over contacting everyone of the one before, in `metric` per customer of that one;
    `low` its simultaneous one-sided lower bound at `alpha`, `forecast` what to expect of it.
    """

    refinement_id: UUID
    experiment: Key
    metric: Key
    gain: Number
    low: Number
    forecast: Number
    alpha: Number


class Revision(Message):
    """A new version of a segment. With `based_on`, refused (409) when another version has come in between."""

    definition: Definition
    name: Annotated[Name, WithoutAddress] | None = None
    note: Annotated[str, StringConstraints(max_length=1000), WithoutNul, WithoutAddress] | None = None
    evidence: Evidence | None = None
    based_on: Whole | None = Field(default=None, ge=1)


class Segment(Message):
    """A segment as it stands: `sentence` says the definition in words; `version` counts from 1.

    `warnings`, in the answer to making or revising it, name traits that no customer has yet.
    """

    id: UUID
    key: Key
    name: str | None
    version: int
    definition: Definition
    sentence: str
    created_at: datetime
    revised_at: datetime
    warnings: list[str] = Field(default_factory=list)


class SegmentVersion(Message):
    """What a segment said in one of its versions."""

    segment_id: UUID
    version: int
    definition: Definition
    sentence: str
    note: str | None
    evidence: Evidence | None
    created_at: datetime


class PreviewRequest(Message):
    """A definition to try at the moment `as_of` (default: now). Counting may take `timeout_ms`."""

    definition: Definition
    as_of: Instant | None = None
    timeout_ms: Whole = Field(default=15_000, ge=1, le=60_000)


class ClauseCount(Message):
    """How many of all known customers satisfy one clause by itself.

    `path` is the clause's JSON pointer in the definition, `sentence` the clause in words. `missing`, on complements of
    a comparison, says how many of them have no value at all.
    """

    path: str
    sentence: str = ""
    count: int
    missing: int | None = Field(default=None, exclude_if=lambda missing: missing is None)


class Preview(Message):
    """Who a definition would mean. `known` counts all customers there are, `share` = count / known (null without any).

    `sample` names up to 20 members, spread by a hash of their ids. `sql_ms` is what the counting took in Postgres,
    `warnings` name traits that no customer had at `as_of`.
    """

    as_of: datetime
    count: int
    known: int
    share: float | None
    sample: list[CustomerId]
    clauses: list[ClauseCount]
    sentence: str
    sql_ms: float
    warnings: list[str] = Field(default_factory=list)


class Member(Message):
    customer_id: CustomerId


class ClauseVerdict(Message):
    """Whether a customer satisfies one clause, and what was found to decide it (null: nothing)."""

    path: str
    sentence: str
    satisfied: bool
    found: JsonValue = None


class Explanation(Message):
    """Why a customer is, or is not, in a segment; one verdict for each clause, outer ones first."""

    segment_id: UUID
    version: int
    customer_id: CustomerId
    as_of: datetime
    member: bool
    clauses: list[ClauseVerdict]


class Shared(Message):
    """How much another segment shares: `both` / `count` of the other = `share`; over either of them = `jaccard`."""

    segment: Key
    count: int
    both: int
    share: float | None
    jaccard: float | None


class Overlap(Message):
    segment: Key
    count: int
    with_: list[Shared] = Field(alias="with")

    model_config = ConfigDict(serialize_by_alias=True)


class NewCutoff(Message):
    """Store what the top share of customers reach in a trait now, as the cut-off `{trait}:{name}`."""

    trait: AttributeName
    name: Key
    top_share: Number = Field(gt=0, lt=1)


class Cutoff(NewCutoff):
    """A stored, dated cut-off: the value that the best `top_share` of `customers` with the trait reached at `at`."""

    at: datetime
    value: Decimal
    customers: int
