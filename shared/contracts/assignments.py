"""Messages about who has which arm (experiments service)."""

from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints

from shared.contracts.base import Flag, Instant, JsonValue, Key, Message, NewCustomerId, Number, Whole, WithoutAddress
from shared.contracts.experiments import Population
from shared.magnitudes import is_countable


def _countable(value: str | float | None) -> str | float | None:
    if isinstance(value, int | float) and not is_countable(value):
        raise ValueError("must lie between -1e20 and 1e20")
    return value


class AssignList(Message):
    """Assign the whole target list. `t0` is when it is sent: the campaign's `send_at` by default, else now."""

    t0: Instant | None = None


class ExternalAssignment(Message):
    """One row of a split that was made elsewhere. `assigned_at` is the customer's time zero."""

    customer_id: Annotated[NewCustomerId, WithoutAddress]
    arm: Key
    assigned_at: Instant


class RefusedRow(Message):
    """Why one row was not taken. `line` counts from 1 (a CSV header is line 1)."""

    line: int
    pointer: str
    detail: str


class AssignmentsRun(Message):
    """What assigning did. Running it again assigns nobody anew: `already` counts those who had their arm."""

    experiment: str
    source: Population
    t0: Instant | None = Field(description="time zero of a list; external rows bring their own")
    assigned: int = Field(description="customers with an arm after this call")
    new: int
    already: int
    rejected: int
    rejects: list[RefusedRow] = Field(default_factory=list, description="the first 100")
    arms: dict[str, int] = Field(description="customers by arm after this call")
    list_digest: str | None
    design_digest: str
    code_version: str


AttributeValue = Annotated[
    Annotated[str, StringConstraints(max_length=1000)] | Whole | Number | Flag | None, AfterValidator(_countable)
]


class AssignRequest(Message):
    """Who needs an arm, in which experiments (keys or ids; default: all that run).

    `attributes` are what the caller knows now; with those of the portrait they are stored as the assignment's features,
    without those that audience's catalogue calls personal, and without e-mail addresses and telephone numbers.
    """

    customer_id: Annotated[NewCustomerId, WithoutAddress]
    experiments: list[Key] | None = Field(default=None, max_length=100)
    attributes: dict[Key, AttributeValue] = Field(default_factory=dict, max_length=100)


class Assigned(Message):
    """`reason`: `assigned` (now), `stored` (before), or why there is no arm: `not_a_member`, `held_out`, `not_assigned`
    (the list, or the external split, has no arm for this customer yet), `not_running`."""

    experiment: str
    arm: str | None
    payload: JsonValue
    probability: float | None
    reason: str


class AssignAnswer(Message):
    customer_id: str
    assignments: list[Assigned]


class StoredAssignment(Message):
    """A row of `GET /v1/experiments/{key}/assignments`."""

    customer_id: str
    arm: str
    control: bool
    contact: bool
    t0: Instant
    probability: float
    stratum: str
    source: Population
    assigned_at: Instant


class SendingRow(Message):
    """Someone to contact: in a contacted arm, and permission holds as of this call."""

    customer_id: str
    arm: str
    payload: JsonValue
    t0: Instant
    experiment: str
    campaign: str | None
    target_list: UUID | None
