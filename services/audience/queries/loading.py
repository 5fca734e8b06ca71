"""Writing what a load said: COPY into temporary tables, then whole sets. Rows are locked in the order of their key."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa

from services.audience.permission import dated
from services.audience.queries.parameters import with_json
from services.audience.queries.permission import SAID, SAID_BEFORE
from services.audience.screening import Point, Screened
from shared.contracts.audience import Scalar
from shared.contracts.permissions import NewConsent
from shared.db import Db, copy_rows

STAGING = sa.text("""
    create temporary table incoming (
        customer_id text collate "C", attributes jsonb, profiling boolean
    ) on commit drop;
    create temporary table incoming_point (
        customer_id text collate "C", channel text, handle text, address_hash bytea, status text,
        verified_at timestamptz
    ) on commit drop;
    create temporary table incoming_consent (
        customer_id text collate "C", brand text, channel text, purpose text, state text, at timestamptz,
        source text, wording text, evidence jsonb, expires_at timestamptz
    ) on commit drop
""")
COPY_CUSTOMERS = "copy incoming (customer_id, attributes, profiling) from stdin"
COPY_POINTS = "copy incoming_point (customer_id, channel, handle, address_hash, status, verified_at) from stdin"
COPY_CONSENTS = """copy incoming_consent (customer_id, brand, channel, purpose, state, at, source, wording, evidence,
                                          expires_at) from stdin"""

FILLED_AT_ONCE = 5000
ALREADY_LOADED = sa.text("""
    select count(*)
      from incoming as i
      join audience.customer as c on c.customer_id = i.customer_id
     where c.last_import = cast(:load as uuid)
""")
UPSERT = sa.text("""
    with written as (
        insert into audience.customer as c (customer_id, attributes, known_at, updated_at, last_import)
        select i.customer_id, i.attributes, :now, :now, cast(:load as uuid)
          from incoming as i
         order by i.customer_id
            on conflict (customer_id) do update
           set attributes = jsonb_strip_nulls(c.attributes || excluded.attributes),
               filled = c.filled - array(select jsonb_object_keys(excluded.attributes)),
               updated_at = excluded.updated_at, last_import = coalesce(excluded.last_import, c.last_import)
         returning c.xmax = 0 as is_new
    )
    select count(*) filter (where w.is_new) as new_customers from written as w
""")
# A null deletes: on update it is stripped above, in a row just inserted here.
SETTLE = sa.text("""
    update audience.customer as c
       set attributes = jsonb_strip_nulls(c.attributes), profiling = coalesce(i.profiling, c.profiling)
      from incoming as i
     where c.customer_id = i.customer_id
       and (c.profiling <> i.profiling or c.attributes <> jsonb_strip_nulls(c.attributes))
""")
# As `Point.is_another_than`.
ANOTHER = "coalesce(excluded.address_hash <> p.address_hash, excluded.handle <> p.handle, false)"
# A bounced or closed point stays so until another address comes. What only repeats the address leaves `updated_at`: a
# bounce that happened before the load and arrives after it is still about this address.
UPSERT_POINTS = sa.text(f"""
    insert into audience.contact_point as p
           (customer_id, channel, handle, address_hash, status, verified_at, updated_at)
    select i.customer_id, i.channel, i.handle, i.address_hash, coalesce(i.status, 'active'), i.verified_at, :now
      from incoming_point as i
     order by i.customer_id, i.channel
        on conflict (customer_id, channel) do update
       set status = case when excluded.status = 'active' and not {ANOTHER} then p.status else excluded.status end,
           handle = coalesce(excluded.handle, p.handle),
           address_hash = coalesce(excluded.address_hash, p.address_hash),
           verified_at = coalesce(excluded.verified_at, p.verified_at),
           updated_at = case when {ANOTHER} or excluded.status not in ('active', p.status)
                             then excluded.updated_at else p.updated_at end
""")  # noqa: S608
# A load repeats what its source once knew. Undated, it is no news: only a refusal counts against what was said since.
INSERT_CONSENTS = sa.text(f"""
    insert into audience.consent as c
           (customer_id, brand, channel, purpose, at, state, source, wording, evidence, expires_at, recorded_at)
    select distinct on (n.customer_id, n.brand, n.channel, n.purpose, n.at, n.state)
           n.customer_id, n.brand, n.channel, n.purpose, n.at, n.state, n.source, n.wording, n.evidence, n.expires_at,
           :now
      from (select i.customer_id, coalesce(i.brand, '*') as brand, coalesce(i.channel, '*') as channel,
                   coalesce(i.purpose, '*') as purpose, coalesce(i.at, :now) as at, i.state, i.source, i.wording,
                   i.evidence, i.expires_at, i.ctid as place
              from incoming_consent as i
             where i.at is not null or i.state in ('denied', 'withdrawn')
                or not exists (select
                                 from {SAID} as s
                                where s.customer_id = i.customer_id and lower(s.brand) in (lower(i.brand), '*')
                                  and lower(s.channel) in (lower(i.channel), '*')
                                  and lower(s.purpose) in (lower(i.purpose), '*'))) as n
     order by n.customer_id, n.brand, n.channel, n.purpose, n.at, n.state, n.expires_at, n.place
{SAID_BEFORE}
     where least(c.expires_at, excluded.expires_at) is distinct from c.expires_at
""")  # noqa: S608
FILL = with_json(
    sa.text("""
    update audience.customer as c
       set filled = :fills - array(select jsonb_object_keys(c.attributes))
      from incoming as i
     where c.customer_id = i.customer_id
       and c.filled <> :fills - array(select jsonb_object_keys(c.attributes))
"""),
    "fills",
)
ALL_CUSTOMERS = sa.text("select count(*) from audience.customer as c")
NEXT = sa.text("""
    select max(n.customer_id) as last, count(*) as customers
      from (select c.customer_id
              from audience.customer as c
             where c.customer_id > :after
             order by c.customer_id
             limit :rows) as n
""")
# Rows are locked in the order of their key, as loads lock them.
FILL_NEXT = with_json(
    sa.text("""
    with gap as (
        select c.customer_id
          from audience.customer as c
         where c.customer_id > :after and c.customer_id <= :last and c.erased_at is null
           and c.filled <> :fills - array(select jsonb_object_keys(c.attributes))
         order by c.customer_id
           for update
    )
    update audience.customer as c
       set filled = :fills - array(select jsonb_object_keys(c.attributes))
      from gap as g
     where c.customer_id = g.customer_id
"""),
    "fills",
)
SUPPLEMENTED = sa.text("""
    select f.name, count(*) as customers
      from audience.customer as c
     cross join jsonb_object_keys(c.filled) as f (name)
     where c.last_import = :load
     group by f.name
""")
SUPPLEMENTED_NOW = sa.text("""
    select f.name, count(*) as customers
      from incoming as i
      join audience.customer as c on c.customer_id = i.customer_id
     cross join jsonb_object_keys(c.filled) as f (name)
     group by f.name
""")


class Merged(NamedTuple):
    """What several rows of a load said of one customer, the later ones winning."""

    attributes: dict[str, Scalar | None]
    profiling: bool | None
    points: dict[str, Point]
    consents: list[NewConsent]


class Written(NamedTuple):
    """How many customers a load touched for the first time in this load, and how many nobody knew before."""

    customers: int
    new_customers: int


class Filled(NamedTuple):
    """A chunk of customers whose gaps were filled: how many they are, the last one, and how many of them changed."""

    customers: int
    last: str
    changed: int


def merged(rows: Sequence[Screened]) -> dict[str, Merged]:
    """Rows by customer, in their order: the last one that speaks of a value wins."""
    found: dict[str, Merged] = {}
    for row in rows:
        known = found.get(row.customer_id, Merged({}, None, {}, []))
        points = dict(known.points)
        for point in row.points:
            points[point.channel] = points[point.channel].then(point) if point.channel in points else point
        found[row.customer_id] = Merged(
            known.attributes | row.attributes,
            known.profiling if row.profiling is None else row.profiling,
            points,
            [*known.consents, *row.consents],
        )
    return found


def write(db: Db, rows: Sequence[Screened], now: datetime, load: UUID | None = None) -> Written:
    """Merge rows into what is known. `load` names the bulk load they belong to."""
    by_customer = merged(rows)
    db.execute(STAGING)
    copy_rows(
        db, COPY_CUSTOMERS, ((name, json.dumps(one.attributes), one.profiling) for name, one in by_customer.items())
    )
    again = db.execute(ALREADY_LOADED, {"load": load}).scalar_one()
    new_customers = db.execute(UPSERT, {"now": now, "load": load}).scalar_one()
    if any(one.profiling is not None or None in one.attributes.values() for one in by_customer.values()):
        db.execute(SETTLE)
    _write_points(db, by_customer, now)
    _write_consents(db, by_customer, now)
    return Written(len(by_customer) - again, new_customers)


def _write_points(db: Db, by_customer: dict[str, Merged], now: datetime) -> None:
    points = [(name, *point) for name, one in by_customer.items() for point in one.points.values()]
    if points:
        copy_rows(db, COPY_POINTS, points)
        db.execute(UPSERT_POINTS, {"now": now})


def _write_consents(db: Db, by_customer: dict[str, Merged], now: datetime) -> None:
    consents = [
        (
            name,
            one.brand,
            one.channel,
            one.purpose,
            one.state.value,
            None if one.at is None else dated(one.state, one.at, now),
            one.source,
            one.wording,
            None if one.evidence is None else json.dumps(one.evidence),
            one.expires_at,
        )
        for name, merged_rows in by_customer.items()
        for one in merged_rows.consents
    ]
    if consents:
        copy_rows(db, COPY_CONSENTS, consents)
        db.execute(INSERT_CONSENTS, {"now": now})


def fill(db: Db, fills: dict[str, Scalar]) -> dict[str, int]:
    """Fill the gaps of the customers just written; gives how many have each attribute filled."""
    db.execute(FILL, {"fills": fills})
    return {row.name: row.customers for row in db.execute(SUPPLEMENTED_NOW)}


def fill_next(db: Db, fills: dict[str, Scalar], after: str) -> Filled | None:
    """Fill the gaps of the next customers by id; None where there are none after `after`."""
    chunk = db.execute(NEXT, {"after": after, "rows": FILLED_AT_ONCE}).one()
    if not chunk.customers:
        return None
    filled = db.execute(FILL_NEXT, {"fills": fills, "after": after, "last": chunk.last})
    return Filled(chunk.customers, chunk.last, int(filled.rowcount))  # type: ignore[attr-defined]


def customers(db: Db) -> int:
    """How many customers there are."""
    return int(db.execute(ALL_CUSTOMERS).scalar_one())


def supplemented(db: Db, load: UUID) -> dict[str, int]:
    """How many of a load's customers have each attribute filled."""
    return {row.name: row.customers for row in db.execute(SUPPLEMENTED, {"load": load})}
