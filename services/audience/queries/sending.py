"""What keeps customers from being sent to now, other than permission."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa

from services.audience.control import Control
from services.audience.draw import bound
from services.audience.permission import Scope
from services.audience.queries.permission import REACHABLE
from shared.db import Db

# Joined, not `exists`, and named twice: a thousand are found by their keys, however many customers there are.
STANDING = sa.text(f"""
    select c.customer_id, p.customer_id is not null as reachable, s.suppressed,
           audience.lot(:control_seed, c.customer_id) < :control_bound as controlled
      from audience.customer as c
      left join ({REACHABLE}) as p on p.customer_id = c.customer_id and p.customer_id = any(cast(:customers as text[]))
     cross join lateral (
               select count(*) > 0 as suppressed
                 from audience.suppression as s
                where s.customer_id = c.customer_id and s.channel in (:channel, '*')
                  and s.lifted_at is null and (s.ends_at is null or s.ends_at > :now)
           ) as s
     where c.customer_id = any(cast(:customers as text[])) and c.erased_at is null
""")  # noqa: S608


class Standing(NamedTuple):
    """A known customer's state on a channel."""

    reachable: bool
    suppressed: bool
    controlled: bool


def standing(db: Db, customers: Sequence[str], scope: Scope, control: Control, now: datetime) -> dict[str, Standing]:
    """The known ones among `customers`, and where they stand."""
    asked = {"customers": list(customers), "channel": scope.channel, "now": now}
    asked |= {"control_seed": control.seed, "control_bound": bound(control.share)}
    rows = db.execute(STANDING, asked)
    return {row.customer_id: Standing(row.reachable, row.suppressed, row.controlled) for row in rows}
