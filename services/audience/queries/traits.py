"""Derived traits, as sets. For each trait the newest `computed_at` stays; unknown customers become known.

Who objects to profiling gets none.
"""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa

from shared.contracts.audience import TraitsRow
from shared.db import Db, be_patient, copy_rows

STAGING = sa.text('create temporary table derived (customer_id text collate "C", traits jsonb) on commit drop')
COPY = "copy derived (customer_id, traits) from stdin"
PULLED = sa.text("""
    insert into derived (customer_id, traits)
    select s.customer_id,
           (select jsonb_object_agg(t.key, jsonb_build_object('value', t.value, 'computed_at', s.computed_at,
                                                              'model', s.model))
              from jsonb_each(s.traits) as t
             where jsonb_typeof(t.value) in ('number', 'string', 'boolean'))
      from published.feedback_scores as s
     where s.source = :source and s.run_id = :run and s.computed_at is not null
""")
UPSERT = sa.text("""
    with written as (
        insert into audience.customer as c (customer_id, traits, known_at, updated_at)
        select d.customer_id, d.traits, :now, :now
          from derived as d
         where d.traits is not null
         order by d.customer_id
            on conflict (customer_id) do update
           set traits = c.traits || (
                   select coalesce(jsonb_object_agg(t.key, t.value), '{}')
                     from jsonb_each(excluded.traits) as t
                    where not jsonb_exists(c.traits, t.key)
                       or cast(c.traits -> t.key ->> 'computed_at' as timestamptz)
                          <= cast(t.value ->> 'computed_at' as timestamptz)),
               updated_at = excluded.updated_at
         where c.erased_at is null and c.profiling
        returning c.xmax = 0 as is_new
    )
    select count(*) as customers, count(*) filter (where w.is_new) as new_customers from written as w
""")
# After the upsert, which locked the rows: nobody's objection can come in between.
OBJECTING = sa.text("""
    select d.customer_id
      from derived as d
      join audience.customer as c on c.customer_id = d.customer_id
     where not c.profiling and c.erased_at is null
""")


# For a trait that somebody has it stops at the first; only a misspelt one costs a look at everybody.
HELD = sa.text("""
    select n.name
      from unnest(cast(:names as text[])) as n (name)
     where exists (select
                     from audience.customer as c
                    where c.erased_at is null and c.profiling and jsonb_exists(c.traits, n.name)
                      and cast(c.traits -> n.name ->> 'computed_at' as timestamptz) <= :as_of)
""")
# Apart, and only for what must be a number: for a trait of texts it is a look at everybody.
HELD_AS_NUMBER = sa.text("""
    select exists (select
                     from audience.customer as c
                    where c.erased_at is null and c.profiling
                      and jsonb_typeof(c.traits -> cast(:name as text) -> 'value') = 'number'
                      and cast(c.traits -> cast(:name as text) ->> 'computed_at' as timestamptz) <= :as_of)
""")


class Taken(NamedTuple):
    """How many customers got traits, how many of them nobody knew before, and who got none because of an objection."""

    customers: int
    new_customers: int
    objecting: set[str]


def held(db: Db, names: Iterable[str], as_of: datetime) -> set[str]:
    """Which of these traits customers had at `as_of`. Who objects to profiling has none."""
    wanted = sorted(set(names))
    return set(db.execute(HELD, {"names": wanted, "as_of": as_of}).scalars()) if wanted else set()


def held_as_number(db: Db, name: str, as_of: datetime) -> bool:
    """Whether any customer had this trait as a number at `as_of`. Who objects to profiling has none."""
    known: bool = db.execute(HELD_AS_NUMBER, {"name": name, "as_of": as_of}).scalar_one()
    return known


def put(db: Db, rows: Sequence[TraitsRow], now: datetime) -> Taken:
    """Take in traits from outside; of several rows about one trait of a customer the newest counts, then the last."""
    newest: dict[str, dict[str, TraitsRow]] = {}
    for row in rows:
        known = newest.setdefault(row.customer_id, {})
        known |= {name: row for name in row.traits if name not in known or known[name].computed_at <= row.computed_at}
    db.execute(STAGING)
    copy_rows(db, COPY, ((customer, json.dumps(_dated(traits))) for customer, traits in newest.items()))
    return _taken(db, now)


def _dated(traits: dict[str, TraitsRow]) -> dict[str, object]:
    return {
        name: {"value": row.traits[name], "computed_at": row.computed_at.isoformat(), "model": row.model}
        for name, row in traits.items()
    }


def pull(db: Db, source: str, run: UUID, now: datetime) -> Taken | None:
    """Take over what a model run published; None when nothing is published under that name."""
    be_patient(db)
    db.execute(STAGING)
    if not db.execute(PULLED, {"source": source, "run": run}).rowcount:  # type: ignore[attr-defined]
        return None
    return _taken(db, now)


def _taken(db: Db, now: datetime) -> Taken:
    written = db.execute(UPSERT, {"now": now}).one()
    return Taken(written.customers, written.new_customers, set(db.execute(OBJECTING).scalars()))
