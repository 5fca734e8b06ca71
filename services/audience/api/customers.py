"""Customers over HTTP: portraits in and out, single and in bulk, and what a bulk load found."""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Body, Path, Query, Request

from services.audience.actions import customers as actions
from services.audience.actions import imports
from services.audience.actions.reading import rows_of
from services.audience.api.common import (
    Begin,
    CustomerItself,
    CustomerPath,
    Format,
    SettingsOf,
    body_of,
    bulk_body,
    format_of,
)
from services.audience.queries import customers as queries
from services.audience.queries import imports as import_queries
from shared import bodies
from shared.auth import requires
from shared.bodies import StrictRoute
from shared.contracts.audience import CustomerRow, ImportReject, Portrait, PortraitChange, QualityReport
from shared.contracts.permissions import ContactPoint, ContactPointContent
from shared.contracts.scopes import Channel
from shared.db import ReadTx, Tx
from shared.errors import UnsupportedMediaType
from shared.pages import Page, Paged
from shared.uploads import takes_upload

READ, WRITE = requires("audience:read"), requires("audience:write")
router = APIRouter(prefix="/v1", tags=["customers"], route_class=StrictRoute, dependencies=[READ])

CHANGE = {
    "attributes": {"age": 34, "city": "Lyon"},
    "identities": {"email": "ada@example.com"},
    "consents": [{"channel": "email", "purpose": "marketing", "state": "granted", "source": "checkout"}],
}
CSV = "customer_id,age,city,email,consent.email.marketing\nc-42,34,Lyon,ada@example.com,granted\n"
BODY = bulk_body(CustomerRow.model_json_schema(), {"customer_id": "c-42", **CHANGE}, CSV)
Change = Annotated[PortraitChange, Body(openapi_examples={"example": {"value": CHANGE}})]


@router.post("/customers", openapi_extra=BODY, dependencies=[WRITE])
@takes_upload
def load_customers(request: Request, begin: Begin, settings: SettingsOf) -> QualityReport:
    """Load customers in bulk: a JSON list (at most 1 MiB), NDJSON or CSV (streamed).

    Rows merge: a missing value is kept, null deletes, the last row wins. A row that breaks a rule is refused with the
    reason and kept as a reject; it never costs the others anything. Addresses are hashed as they arrive.
    """
    return _load(request, begin, settings, format_of(request, "json", "ndjson", "csv"))


@router.post("/imports", status_code=201, openapi_extra=BODY, dependencies=[WRITE])
@takes_upload
def create_import(
    request: Request,
    begin: Begin,
    settings: SettingsOf,
    kind: Annotated[Literal["customers"], Query()],
    format: Annotated[Format, Query()],
) -> QualityReport:
    """Load a file; the answer says what was found in it. The format is named here; the media type may be general."""
    declared = bodies.media_type(request)
    if declared not in ("", "application/octet-stream") and format_of(request, "json", "ndjson", "csv") != format:
        raise UnsupportedMediaType(f"The body says {declared}, the address says {format}.")
    return _load(request, begin, settings, format)


def _load(request: Request, begin: Begin, settings: SettingsOf, format_: Format) -> QualityReport:
    return imports.Load(begin, settings.secret, format_).run(rows_of(format_, body_of(request, format_)))


@router.get("/imports")
def list_imports(db: ReadTx, page: Paged) -> Page[QualityReport]:
    """Bulk loads, newest first."""
    return page.answer(import_queries.reports(db, page), lambda one: [one.started_at.isoformat(), str(one.id)])


@router.get("/imports/{import_id}")
def get_import(import_id: UUID, db: ReadTx) -> QualityReport:
    """What a bulk load found, also while it runs."""
    return import_queries.report(db, import_id)


@router.get("/imports/{import_id}/rejects")
def list_rejects(import_id: UUID, db: ReadTx, page: Paged) -> Page[ImportReject]:
    """Rows that were refused, in the order of the file, one entry for each reason."""
    import_queries.report(db, import_id)
    found = page.answer(import_queries.rejects(db, import_id, page), lambda one: [str(one[1].row), str(one[0])])
    return Page[ImportReject](items=[reject for _, reject in found.items], next_cursor=found.next_cursor)


@router.get("/customers")
def list_customers(db: ReadTx, page: Paged) -> Page[Portrait]:
    """All customers known, by id."""
    return page.answer(queries.portraits(db, page), lambda one: [one.customer_id])


POINT: dict[str, Any] = {"handle": "crm:8812", "status": "active"}


@router.put("/customers/{customer_id:any_id}/contact-points/{channel}", dependencies=[WRITE])
def put_contact_point(
    customer_id: CustomerPath,
    channel: Annotated[Channel, Path()],
    content: Annotated[ContactPointContent, Body(openapi_examples={"example": {"value": POINT}})],
    db: Tx,
) -> ContactPoint:
    """Say how a customer is reached on a channel: by the sending tool's own handle, or a keyed hash of the address.

    Without both, it speaks of the address that is known, whose `status` stays unless it is said. Active points need
    one, except on `app` and `web`.
    """
    return actions.put_contact_point(db, customer_id, channel, content)


@router.get("/customers/{customer_id:any_id}")
def get_customer(customer_id: CustomerItself, db: ReadTx) -> Portrait:
    """All that is known of one customer."""
    return queries.portrait(db, customer_id)


@router.put("/customers/{customer_id:any_id}", dependencies=[WRITE])
def put_customer(customer_id: CustomerItself, change: Change, db: Tx, settings: SettingsOf) -> Portrait:
    """Make a customer known, with exactly these attributes. Consents and contact points are added, traits stay."""
    return actions.replace(db, customer_id, change, settings.secret)


@router.patch("/customers/{customer_id:any_id}", dependencies=[WRITE])
def patch_customer(customer_id: CustomerItself, change: Change, db: Tx, settings: SettingsOf) -> Portrait:
    """Add to what is known of a customer: a missing attribute is kept, null deletes."""
    return actions.merge(db, customer_id, change, settings.secret)
