"""Permission: state it, and take in what feedback heard."""

from datetime import UTC, datetime
from uuid import UUID

from services.audience.identity import holds_contact_data
from services.audience.permission import EVERY
from services.audience.queries import arrivals, customers
from services.audience.queries import permission as queries
from services.audience.queries import suppressions as suppression_queries
from services.audience.screening import faults
from shared.contracts.base import NO_ADDRESS, NO_BLANKS
from shared.contracts.permissions import (
    DEFAULT_BRAND,
    Consent,
    ConsentStatement,
    Lift,
    NewSuppression,
    StatedConsent,
    Suppression,
)
from shared.db import Db, new_id
from shared.errors import FieldError, Invalid
from shared.telemetry import log

WITHDRAWALS = "withdrawals"


def state(db: Db, customer_id: str, channel: str, statement: ConsentStatement) -> StatedConsent:
    """Append a statement about permission on `channel`; `*` is every one, which only a refusal may cover.

    The same statement again (scope, instant and state) changes nothing but that of two ends the earlier holds. Raises
    `NotFound`, `Invalid`.
    """
    every, now = channel == EVERY, datetime.now(UTC)
    wrong = faults(statement, now)
    if every and not statement.state.refuses:
        wrong.append(FieldError("/state", "only a refusal (`denied`, `withdrawn`) may cover every channel"))
    if wrong:
        raise Invalid("The statement breaks a rule.", wrong)
    customers.portrait(db, customer_id)
    recorded = queries.record(db, customer_id, None if every else channel, statement, now)
    return StatedConsent(**recorded.model_dump(), warnings=_said_otherwise(statement, recorded) + _doubts(db, recorded))


def _said_otherwise(statement: ConsentStatement, recorded: Consent) -> list[str]:
    """What of a statement is not on record, because it was made before in other words."""
    fields = ("source", "wording", "evidence", "expires_at")
    others = [f"`{field}`" for field in fields if getattr(statement, field) != getattr(recorded, field)]
    if not others:
        return []
    return [
        f"This was stated before, at the same instant, with another {', '.join(others)}: what is shown here holds. "
        "With an `at` of its own it is a statement of its own."
    ]


def _doubts(db: Db, recorded: Consent) -> list[str]:
    """Brands are an installation's own words, so a misspelt one cannot be refused; but a refusal must be heard."""
    if not recorded.state.refuses or recorded.brand is None:
        return []
    if recorded.brand == DEFAULT_BRAND or queries.brand_is_known(db, recorded.customer_id, recorded.brand):
        return []
    return [
        f"No campaign has the brand {recorded.brand}, and this customer permitted nothing for it: "
        "messages of every other brand go on. `brand: null` refuses all of them."
    ]


def take_withdrawals(db: Db) -> None:
    """Make feedback's withdrawals part of audience's own record. They were in force before."""
    read = arrivals.window(db, WITHDRAWALS)
    taken = queries.take_withdrawals(db, read.low, read.high, datetime.now(UTC))
    if taken:  # an idle tick writes nothing
        arrivals.move(db, WITHDRAWALS, read)
        log.info("withdrawals recorded", count=taken)


def waiting(db: Db) -> tuple[int, float]:
    """Batches with withdrawals that are not on audience's own record yet, and the age of the oldest in seconds."""
    return arrivals.waiting(db, arrivals.window(db, WITHDRAWALS).low)


def suppress(db: Db, new: NewSuppression) -> Suppression:
    """Contact no more, whether or not the customer is known yet. Raises `Invalid`.

    An id with blanks around it must be that of a customer whom an earlier release took, or nobody would be suppressed.
    """
    now = datetime.now(UTC)
    wrong = [
        FieldError(f"/{field}", NO_ADDRESS)
        for field, text in (("customer_id", new.customer_id), ("reason", new.reason))
        if holds_contact_data(text)
    ]
    if wrong:
        raise Invalid("Addresses are not stored.", wrong)
    if new.customer_id != new.customer_id.strip() and not customers.is_known(db, new.customer_id):
        raise Invalid("There is no such customer.", [FieldError("/customer_id", NO_BLANKS)])
    if new.ends_at is not None and new.ends_at <= now:
        wrong = [FieldError("/ends_at", "has passed: nothing would be suppressed")]
        raise Invalid("The entry would never be in force.", wrong)
    return suppression_queries.insert(db, new_id(), new, now)


def lift(db: Db, suppression_id: UUID, lift: Lift, by: str) -> Suppression:
    """End a do-not-contact entry now, on behalf of the key with the id `by`; the record stays.

    Lifting it again changes nothing. Raises `NotFound`, `Invalid`.
    """
    if holds_contact_data(lift.reason):
        wrong = FieldError("/reason", NO_ADDRESS)
        raise Invalid("Addresses are not stored.", [wrong])
    return suppression_queries.lift(db, suppression_id, lift, by, datetime.now(UTC))
