"""One customer: what is newly known, what is known in all."""

from collections.abc import Iterable
from datetime import UTC, datetime

from services.audience.actions.attributes import SUPPLEMENT_JOB, awaiting_values, fill_values
from services.audience.actions.imports import screen_of
from services.audience.identity import holds_contact_data
from services.audience.queries import attributes, loading
from services.audience.queries import customers as queries
from services.audience.screening import Screened
from shared.contracts.audience import AttributeDefinition, Portrait, PortraitChange
from shared.contracts.base import NO_ADDRESS, NO_BLANKS
from shared.contracts.permissions import ContactPoint, ContactPointContent, ContactStatus
from shared.contracts.scopes import WITHOUT_ADDRESS
from shared.db import Db
from shared.errors import FieldError, Invalid, NotFound
from shared.jobs import enqueue


def replace(db: Db, customer_id: str, change: PortraitChange, secret: str) -> Portrait:
    """Make the attributes exactly these, and add the rest. The customer becomes known. Raises `Invalid`."""
    if holds_contact_data(customer_id):
        raise Invalid("A customer id must not be an address.", [FieldError("#path/customer_id", NO_ADDRESS)])
    if customer_id != customer_id.strip():
        raise Invalid("A customer id has no blanks around it.", [FieldError("#path/customer_id", NO_BLANKS)])
    catalogue = attributes.catalogue(db, held=True)
    queries.make_known(db, customer_id, datetime.now(UTC))  # of two calls at once the second waits here, and replaces
    gone = dict.fromkeys(queries.attribute_names(db, customer_id) or [])
    whole = change.model_copy(update={"attributes": {**gone, **change.attributes}})
    return _write(db, customer_id, whole, catalogue, secret)


def merge(db: Db, customer_id: str, change: PortraitChange, secret: str) -> Portrait:
    """Add to what is known: a missing attribute keeps its value, null deletes it. Raises `NotFound`, `Invalid`."""
    catalogue = attributes.catalogue(db, held=True)
    if queries.attribute_names(db, customer_id) is None:
        raise NotFound("There is no such customer.")
    return _write(db, customer_id, change, catalogue, secret)


def _write(
    db: Db, customer_id: str, change: PortraitChange, catalogue: dict[str, AttributeDefinition], secret: str
) -> Portrait:
    kept, points, wrong = screen_of(catalogue, secret).change(change)
    if wrong:
        raise Invalid("Some values break a rule.", wrong)
    row = Screened(customer_id, kept, change.profiling, points, change.consents)
    loading.write(db, [row], datetime.now(UTC))
    loading.fill(db, fill_values(catalogue))
    if not awaiting_values(catalogue).isdisjoint(kept):
        enqueue(db, SUPPLEMENT_JOB, {})
    written = queries.portrait(db, customer_id)
    nowhere = {point.channel for point in written.contact_points if _leads_nowhere(point)}
    _refuse_active(f"/contact_points/{n}" for n, one in enumerate(change.contact_points) if one.channel in nowhere)
    return written


def _leads_nowhere(point: ContactPoint) -> bool:
    """Whether it is said to be active, though nothing says where it leads to."""
    named = point.handle is not None or point.address_hash is not None or point.channel in WITHOUT_ADDRESS
    return point.status is ContactStatus.ACTIVE and not named


def _refuse_active(places: Iterable[str]) -> None:
    wrong = [FieldError(f"{place}/handle", "name a `handle` or an `address_hash`: none is known") for place in places]
    if wrong:
        raise Invalid("An active contact point says where it leads to.", wrong)


def put_contact_point(db: Db, customer_id: str, channel: str, content: ContactPointContent) -> ContactPoint:
    """Say how a known customer is reached on a channel. Raises `NotFound`, `Invalid`."""
    if content.handle is not None and holds_contact_data(content.handle):
        raise Invalid("A handle must not be an address.", [FieldError("/handle", NO_ADDRESS)])
    queries.portrait(db, customer_id)
    point = queries.put_contact_point(db, customer_id, channel, content, datetime.now(UTC))
    _refuse_active([""] if _leads_nowhere(point) else [])
    return point
