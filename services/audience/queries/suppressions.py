"""Do-not-contact entries."""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from shared.contracts.permissions import NewSuppression, Suppression
from shared.db import Db
from shared.pages import PageRequest

INSERT = sa.text("""
    insert into audience.suppression (customer_id, id, channel, reason, ends_at, created_at)
    values (:customer_id, :id, coalesce(:channel, '*'), :reason, :ends_at, :now)
""")
PAGE = sa.text("""
    select s.id, s.customer_id, nullif(s.channel, '*') as channel, s.reason, s.ends_at, s.created_at
      from audience.suppression as s
     where (cast(:customer as text) is null or s.customer_id = :customer)
       and (cast(:at as timestamptz) is null or (s.created_at, s.id) < (cast(:at as timestamptz), cast(:last as uuid)))
     order by s.created_at desc, s.id desc
     limit :limit
""")


def insert(db: Db, suppression_id: UUID, new: NewSuppression, now: datetime) -> Suppression:
    db.execute(INSERT, {"id": suppression_id, "now": now, **new.model_dump()})
    return Suppression(id=suppression_id, created_at=now, **new.model_dump())


def suppressions(db: Db, page: PageRequest, customer_id: str | None) -> list[Suppression]:
    """Newest first, one more than the page holds."""
    at, last = page.after or (None, None)
    rows = db.execute(PAGE, {"customer": customer_id, "at": at, "last": last, "limit": page.limit + 1})
    return [Suppression.model_validate(dict(row._mapping)) for row in rows]
