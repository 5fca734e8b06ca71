"""Derived traits: from outside row by row, from a model run as a set."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime

from pydantic import ValidationError

from services.audience import clock
from services.audience.actions.reading import Line, Numbered, Row, in_chunks
from services.audience.catalogue import LONGEST_TEXT, number
from services.audience.identity import holds_contact_data
from services.audience.queries import traits as queries
from shared.contracts.audience import TraitsPull, TraitsPulled, TraitsRefused, TraitsReport, TraitsRow
from shared.contracts.base import NO_ADDRESS, in_words
from shared.db import Db
from shared.errors import FieldError, NotFound
from shared.telemetry import log

MOST_REFUSED = 10_000
OBJECTS = FieldError("/customer_id", "objects to profiling: no traits are kept")


def put(begin: Callable[[], AbstractContextManager[Db]], rows: Iterator[Numbered]) -> TraitsReport:
    """Take in traits from outside, chunk by chunk. A bad row never costs the good ones."""
    count = refused = new_customers = 0
    rejected = list[TraitsRefused]()
    for chunk in in_chunks(rows):
        now, objecting = datetime.now(UTC), set[str]()
        checked = [(number - 1, _checked(row, now)) for number, row in chunk]
        good = [row for _, row in checked if isinstance(row, TraitsRow)]
        if good:
            with begin() as db:
                taken = queries.put(db, good, now)
            new_customers, objecting = new_customers + taken.new_customers, taken.objecting
        faults = ((index, _fault(row, objecting)) for index, row in checked)
        bad = [TraitsRefused(index=index, **fault._asdict()) for index, fault in faults if fault is not None]
        count, refused = count + len(chunk), refused + len(bad)
        rejected += bad[: MOST_REFUSED - len(rejected)]
    return TraitsReport(
        rows=count, accepted=count - refused, new_customers=new_customers, rejected=rejected, refused=refused
    )


def _fault(row: TraitsRow | FieldError, objecting: set[str]) -> FieldError | None:
    if isinstance(row, FieldError):
        return row
    return OBJECTS if row.customer_id in objecting else None


def _checked(read: Row, now: datetime) -> TraitsRow | FieldError:
    raw = read.parsed() if isinstance(read, Line) else read[0]
    if isinstance(raw, FieldError):
        return raw
    try:
        row = TraitsRow.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        place = "".join(f"/{part}" for part in first["loc"] if part != "[key]")
        return FieldError("/traits" if holds_contact_data(place) else place, in_words(first["msg"]))
    if row.computed_at > now + clock.TOLERANCE:  # no later value could ever replace it
        return FieldError("/computed_at", "must not lie more than five minutes ahead")
    texts = [("customer_id", row.customer_id), ("model", row.model)]
    texts += [(f"traits/{name}", value) for name, value in row.traits.items() if isinstance(value, str)]
    for place, text in texts:
        if len(text) > LONGEST_TEXT:
            return FieldError(f"/{place}", f"must not be longer than {LONGEST_TEXT} characters")
        if holds_contact_data(text):
            return FieldError(f"/{place}", NO_ADDRESS)
    for name, value in row.traits.items():
        if not isinstance(value, str | bool):
            try:
                number(value)
            except ValueError as error:
                return FieldError(f"/traits/{name}", str(error))
    return row


def pull(db: Db, wanted: TraitsPull) -> TraitsPulled:
    """Take over what a model run published; doing it again changes nothing. Raises `NotFound`."""
    taken = queries.pull(db, wanted.source, wanted.run, datetime.now(UTC))
    if taken is None:
        raise NotFound(f"{wanted.source} publishes no run {wanted.run}.")
    log.info("traits pulled", source=wanted.source, customers=taken.customers)
    counted = taken._asdict() | {"objecting": len(taken.objecting)}
    return TraitsPulled(source=wanted.source, run=wanted.run, **counted)
