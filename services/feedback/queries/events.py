"""SQL of events: the deduplicating insert, what stands under a key, withdrawals, and reading."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple, cast

import psycopg
import sqlalchemy as sa
from pydantic_core import to_json

from services.feedback.queries.arrays import array_of
from shared.contracts.feedback import Event, RecordedEvent
from shared.contracts.kinds import MONEY
from shared.db import Db, copy_rows, driver
from shared.errors import Invalid
from shared.pages import PageRequest

COLUMNS = {
    "customer_id": "text", "event_id": "text", "kind": "text", "category": "text", "occurred_at": "timestamptz",
    "value": "numeric", "currency": "text", "text": "text", "properties": "jsonb", "campaign": "text",
    "target_list": "uuid", "experiment": "text", "arm": "text",
}  # fmt: skip
CONTENT = [name for name in COLUMNS if name not in ("customer_id", "event_id", "category")]
STAGED_FROM = 1000  # rows: below, arrays in one statement are faster; above, COPY into a temporary table

_NAMES = ", ".join(COLUMNS)
_ARRAYS = ", ".join(f"cast(:{name} as {kind}[])" for name, kind in COLUMNS.items())
_FROM = {"arrays": f"unnest({_ARRAYS}) as i ({_NAMES})", "staged": "incoming as i"}

# One call writes the arrival and its events; psycopg runs it, at a third of what SQLAlchemy adds to a statement. Rows
# come sorted by key: batches that overlap would deadlock otherwise.
_PASSED = ", ".join(f"%({name})s::{kind}[]" for name, kind in COLUMNS.items())
KEEP = f"select arrival, arrived from feedback.keep_events({_PASSED}, %(received_at)s)"  # noqa: S608
KEEP_STAGED = sa.text(f"""
    insert into feedback.event ({_NAMES}, received_at, batch_id)
    select {", ".join(f"i.{name}" for name in COLUMNS)}, :received_at, :batch_id
      from incoming as i
        on conflict do nothing
""")  # noqa: S608
NEXT = sa.text("select nextval('feedback.batch_batch_id_seq')")
ARRIVE = sa.text("insert into feedback.batch (batch_id, received_at, events) values (:batch_id, :received_at, :events)")

# A later statement, so that it sees what others committed while the insert waited for them.
STANDING = {
    form: sa.text(f"""
    select e.customer_id, e.event_id,
           ({", ".join(f"e.{name}" for name in CONTENT)})
             is not distinct from ({", ".join(f"i.{name}" for name in CONTENT)}) as same
      from {source}
      join feedback.event as e on e.customer_id = i.customer_id and e.event_id = i.event_id
     where e.batch_id <> :batch_id
""")  # noqa: S608
    for form, source in _FROM.items()
}

AGAINST_STORED = sa.text(f"""
    select i.place,
           ({", ".join(f"e.{name}" for name in CONTENT)})
             is not distinct from ({", ".join(f"i.{name}" for name in CONTENT)}) as same
      from unnest({_ARRAYS}) with ordinality as i ({_NAMES}, place)
      join feedback.event as e on e.customer_id = i.customer_id and e.event_id = i.event_id
""")  # noqa: S608

STORED = sa.text(f"""
    select {_NAMES.replace("category, ", "")}
      from unnest(cast(:customer_id as text[]), cast(:event_id as text[])) as i (of_customer, of_event)
      join feedback.event as e on e.customer_id = i.of_customer and e.event_id = i.of_event
""")  # noqa: S608

STAGE = sa.text(f"""
    create temporary table incoming on commit drop as select {_NAMES} from feedback.event as e with no data
""")  # noqa: S608
UNSTAGE = sa.text("drop table incoming")

# As it was said; what that covers is computed by the table (`covers_brand` and the like). An id with blanks around it
# is that of a customer whom an earlier release stored so, or a slip of the pen: the withdrawal holds for both.
BLANKS = "".join(filter(str.isspace, map(chr, range(0x10000))))
WITHDRAW = sa.text("""
    insert into feedback.withdrawal (customer_id, event_id, brand, channel, purpose, at, reason, batch_id)
    select w.customer_id, e.event_id, e.properties ->> 'brand', e.properties ->> 'channel', e.properties ->> 'purpose',
           e.occurred_at, e.kind, e.batch_id
      from feedback.event as e
     cross join lateral (select e.customer_id union select btrim(e.customer_id, :blanks)) as w (customer_id)
     where e.batch_id = :batch_id
       and (e.kind in ('unsubscribed', 'complained') or (e.kind = 'bounced' and e.properties ->> 'bounce' = 'hard'))
       and w.customer_id <> ''
        on conflict do nothing
""")

SHOWN = f"{_NAMES}, received_at, batch_id".replace("category, ", "")
OF_CUSTOMER = sa.text(f"""
    select {SHOWN}
      from feedback.event as e
     where e.customer_id = :customer_id
       and (cast(:kind as text) is null or e.kind = :kind)
       and (cast(:since as timestamptz) is null or e.occurred_at >= :since)
       and (cast(:at as timestamptz) is null or (e.occurred_at, e.event_id) < (cast(:at as timestamptz), :event_id))
     order by e.occurred_at desc, e.event_id desc
     limit :limit
""")  # noqa: S608
OF_ALL = sa.text(f"""
    select {SHOWN}
      from feedback.event as e
     where (cast(:kind as text) is null or e.kind = :kind)
       and (cast(:since as timestamptz) is null or e.occurred_at >= :since)
       and (cast(:batch_id as bigint) is null
            or (e.batch_id, e.customer_id, e.event_id) < (cast(:batch_id as bigint), :customer_id, :event_id))
     order by e.batch_id desc, e.customer_id desc, e.event_id desc
     limit :limit
""")  # noqa: S608


class Arrived(NamedTuple):
    """The arrival that a transaction wrote, and how many events were new."""

    batch_id: int
    events: int


class Incoming:
    """Events on their way in, sorted by key, in the form in which Postgres takes them fastest."""

    def __init__(self, db: Db, events: Sequence[Event], currency: str) -> None:
        rows = [_row(event, currency) for event in events]
        if len(rows) < STAGED_FROM:
            self._form = "arrays"
            columns = zip(*rows, strict=True)
            self._values = {name: array_of(column) for name, column in zip(COLUMNS, columns, strict=True)}
        else:
            self._form, self._values = "staged", {}
            db.execute(STAGE)
            copy_rows(db, f"copy incoming ({_NAMES}) from stdin", rows)
        self._db = db

    def insert(self, received_at: datetime) -> Arrived:
        """Keep the events whose key is new. Raises `Invalid` where Postgres cannot hold one of them."""
        try:
            return self._keep_staged(received_at) if self._form == "staged" else self._keep(received_at)
        except (psycopg.DataError, sa.exc.DataError) as error:
            raise Invalid("Postgres cannot hold one of these events.") from error

    def _keep(self, received_at: datetime) -> Arrived:
        row = driver(self._db).execute(KEEP, {**self._values, "received_at": received_at}).fetchone()
        assert row is not None
        return Arrived(*cast(tuple[int, int], row))

    def _keep_staged(self, received_at: datetime) -> Arrived:
        arrival = {"batch_id": self._db.execute(NEXT).scalar_one(), "received_at": received_at}
        kept = cast(sa.CursorResult[Any], self._db.execute(KEEP_STAGED, arrival))
        if kept.rowcount:
            self._db.execute(ARRIVE, {**arrival, "events": kept.rowcount})
        return Arrived(arrival["batch_id"], kept.rowcount)

    def standing(self, batch_id: int) -> dict[tuple[str, str], bool]:
        """The keys that were there already: whether with the same content."""
        rows = self._db.execute(STANDING[self._form], {**self._values, "batch_id": batch_id})
        return {(row.customer_id, row.event_id): row.same for row in rows}

    def close(self) -> None:
        """Make room for the next in the same transaction."""
        if self._form == "staged":
            self._db.execute(UNSTAGE)


def same_as_stored(db: Db, events: Sequence[Event], currency: str) -> list[bool]:
    """For each event whether what stands under its key has the same content."""
    columns = zip(*(_row(event, currency) for event in events), strict=True)
    values = {name: array_of(column) for name, column in zip(COLUMNS, columns, strict=True)}
    same = {row.place: row.same for row in db.execute(AGAINST_STORED, values)}
    return [same.get(place, False) for place in range(1, len(events) + 1)]


def stored(db: Db, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Event]:
    """What stands under the keys. It is not validated: an earlier release may have taken what is refused today."""
    if not keys:
        return {}
    customers, ids = zip(*keys, strict=True)
    rows = db.execute(STORED, {"customer_id": array_of(customers), "event_id": array_of(ids)}).mappings()
    return {(row["customer_id"], row["event_id"]): Event.model_construct(**row) for row in rows}


def currency_of(event: Event, currency: str) -> str | None:
    """What an event's value is in. Money without a currency is in the installation's own."""
    return event.currency or (currency if event.value is not None and event.kind in MONEY else None)


def _row(event: Event, currency: str) -> tuple[str | None, ...]:
    """An event as text, column by column."""
    properties = event.properties
    value = event.value
    return (
        event.customer_id,
        event.event_id,
        event.kind,
        properties.get("category") if properties else None,
        event.occurred_at.isoformat(),
        None if value is None else str(value),
        currency_of(event, currency),
        event.text,
        to_json(properties).decode() if properties else None,
        event.campaign,
        None if event.target_list is None else str(event.target_list),
        event.experiment,
        event.arm,
    )


def withdraw(db: Db, batch_id: int) -> None:
    """Put the withdrawals among an arrival's events in force, in the transaction that brought them."""
    db.execute(WITHDRAW, {"batch_id": batch_id, "blanks": BLANKS})


def of_customer(
    db: Db, customer_id: str, kind: str | None, since: datetime | None, page: PageRequest
) -> list[RecordedEvent]:
    """What one customer did, newest first."""
    at, event_id = page.after or (None, None)
    values: dict[str, object] = {
        "customer_id": customer_id,
        "kind": kind,
        "since": since,
        "at": at,
        "event_id": event_id,
    }
    rows = db.execute(OF_CUSTOMER, {**values, "limit": page.limit + 1}).mappings()
    return [RecordedEvent.model_validate(dict(row)) for row in rows]


def of_all(db: Db, kind: str | None, since: datetime | None, page: PageRequest) -> list[RecordedEvent]:
    """What arrived, newest arrival first."""
    batch_id, customer_id, event_id = page.after or (None, None, None)
    values: dict[str, object] = {"kind": kind, "since": since, "customer_id": customer_id, "event_id": event_id}
    values |= {"batch_id": batch_id, "limit": page.limit + 1}
    return [RecordedEvent.model_validate(dict(row)) for row in db.execute(OF_ALL, values).mappings()]
