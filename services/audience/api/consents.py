"""Permission over HTTP: consents, suppressions, and the check before sending."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Path, Query

from services.audience.actions import consents as actions
from services.audience.actions import sending
from services.audience.api.common import CallerOf, CustomerPath, SettingsOf
from services.audience.queries import customers
from services.audience.queries import permission as queries
from services.audience.queries import suppressions as suppression_queries
from shared.auth import requires
from shared.bodies import StrictRoute
from shared.contracts.base import CustomerId
from shared.contracts.permissions import (
    Consent,
    ConsentStatement,
    Lift,
    NewSuppression,
    SendCheckAnswer,
    SendCheckRequest,
    StatedConsent,
    Suppression,
)
from shared.contracts.scopes import ChannelOrEvery
from shared.db import ReadTx, Tx
from shared.idempotency import Once
from shared.pages import Page, Paged

READ, WRITE = requires("audience:read"), requires("audience:write")
router = APIRouter(prefix="/v1", tags=["permission"], route_class=StrictRoute, dependencies=[READ])

GRANT = {"purpose": "marketing", "state": "granted", "source": "preference centre"}
DO_NOT_CONTACT = {"customer_id": "c-42", "channel": "email", "reason": "asked by telephone"}
MISTAKEN = {"reason": "entered for the wrong customer"}
CHECK = {"channel": "email", "purpose": "marketing", "customer_ids": ["c-42"]}


@router.put("/customers/{customer_id:any_id}/consents/{channel}", dependencies=[WRITE])
def put_consent(
    customer_id: CustomerPath,
    channel: Annotated[ChannelOrEvery, Path()],
    statement: Annotated[ConsentStatement, Body(openapi_examples={"example": {"value": GRANT}})],
    db: Tx,
) -> StatedConsent:
    """State a permission or a refusal on a channel; `*` is every channel. Nothing is overwritten: the newest holds.

    Of one instant there is one statement: repeated with another `expires_at`, the earlier end holds, and what else
    differs is not kept, with a warning. A refusal for a brand that no campaign has, and that nothing was permitted for,
    is kept with a warning.
    """
    return actions.state(db, customer_id, channel, statement)


@router.get("/customers/{customer_id:any_id}/consents")
def list_consents(customer_id: CustomerPath, db: ReadTx, page: Paged) -> Page[Consent]:
    """Everything that was ever stated about permission, newest first."""
    customers.portrait(db, customer_id)
    found = page.answer(queries.history(db, customer_id, page), lambda one: [one[1].at.isoformat(), one[0]])
    return Page[Consent](items=[consent for _, consent in found.items], next_cursor=found.next_cursor)


@router.post("/suppressions", status_code=201, dependencies=[WRITE])
def create_suppression(
    new: Annotated[NewSuppression, Body(openapi_examples={"example": {"value": DO_NOT_CONTACT}})], db: Tx, once: Once
) -> Suppression:
    """Do not contact a customer, on one channel or at all, for ever or until a date."""
    return once(db, new, effect=lambda: actions.suppress(db, new), answer=Suppression)


@router.post("/suppressions/{suppression_id}/lift", dependencies=[WRITE])
def lift_suppression(
    suppression_id: UUID,
    lift: Annotated[Lift, Body(openapi_examples={"example": {"value": MISTAKEN}})],
    db: Tx,
    caller: CallerOf,
) -> Suppression:
    """End a do-not-contact entry now. It stays on record, with who lifted it and why; a repeat changes nothing."""
    return actions.lift(db, suppression_id, lift, caller.id)


@router.get("/suppressions")
def list_suppressions(
    db: ReadTx, page: Paged, customer_id: Annotated[CustomerId | None, Query()] = None
) -> Page[Suppression]:
    """Do-not-contact entries, newest first, also those that ended or were lifted."""
    found = suppression_queries.suppressions(db, page, customer_id)
    return page.answer(found, lambda one: [one.created_at.isoformat(), str(one.id)])


@router.post("/send-checks")
def check_sending(
    asked: Annotated[SendCheckRequest, Body(openapi_examples={"example": {"value": CHECK}})],
    db: ReadTx,
    settings: SettingsOf,
) -> SendCheckAnswer:
    """Who of these (at most 1,000) may be sent to at this moment, and why the others may not."""
    return sending.check(db, asked, settings)
