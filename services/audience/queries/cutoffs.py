"""Cut-offs: what the top share of customers reached in a trait, stored with its date and never changed."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

import sqlalchemy as sa

from shared.contracts.segments import Cutoff, NewCutoff
from shared.db import Db
from shared.pages import PageRequest

COMPUTED = sa.text("""
    insert into audience.cutoff (trait, name, at, top_share, value, customers)
    select :trait, :name, :now, :top_share, percentile_disc(:top_share) within group (order by v.value desc), count(*)
      from (select cast(c.traits -> :trait -> 'value' as numeric) as value
              from audience.customer as c
             where c.erased_at is null and c.profiling
               and jsonb_typeof(c.traits -> :trait -> 'value') = 'number'
               and cast(c.traits -> :trait ->> 'computed_at' as timestamptz) <= :now) as v
    having count(*) > 0
 returning trait, name, at, top_share, value, customers
""")
IN_FORCE = sa.text("""
    select distinct on (k.trait, k.name) k.trait || ':' || k.name as cutoff, k.value
      from audience.cutoff as k
     where k.trait || ':' || k.name = any(:cutoffs) and k.at <= :as_of
     order by k.trait, k.name, k.at desc
""")
PAGE = sa.text("""
    select k.trait, k.name, k.at, k.top_share, k.value, k.customers
      from audience.cutoff as k
     where cast(:at as timestamptz) is null or (k.at, k.trait, k.name) < (:at, :trait, :name)
     order by k.at desc, k.trait desc, k.name desc
     limit :limit
""")


def compute(db: Db, new: NewCutoff, now: datetime) -> Cutoff | None:
    """Compute and store a cut-off as of now; None when no customer has the trait as a number."""
    row = db.execute(COMPUTED, {**new.model_dump(), "now": now}).one_or_none()
    return None if row is None else Cutoff.model_validate(dict(row._mapping))


def in_force(db: Db, cutoffs: Iterable[str], as_of: datetime) -> dict[str, Decimal]:
    """The newest value of each cut-off at `as_of`; one that did not exist then is left out."""
    wanted = sorted(cutoffs)
    if not wanted:
        return {}
    return {row.cutoff: row.value for row in db.execute(IN_FORCE, {"cutoffs": wanted, "as_of": as_of})}


def page(db: Db, asked: PageRequest) -> list[Cutoff]:
    """The newest first, one more than the page holds."""
    at, trait, name = asked.after or (None, None, None)
    rows = db.execute(PAGE, {"at": at, "trait": trait, "name": name, "limit": asked.limit + 1})
    return [Cutoff.model_validate(dict(row._mapping)) for row in rows]
