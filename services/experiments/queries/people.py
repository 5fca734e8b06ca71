"""SQL that reads customers one by one, with frozen features, for models of individual effects."""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import sqlalchemy as sa

from shared.db import Db

COUNT = sa.text("""
    select count(*) from experiments.assignment as a where a.experiment_id = :id and a.t0 <= :latest_t0
""")
# A hash decides who is read, so that the same customers are read again.
PEOPLE = sa.text("""
    select a.customer_id, a.arm, a.probability, a.stratum, a.features,
           coalesce(least(o.value, cast(m.definition ->> 'cap' as float8)), 0) as value
      from experiments.assignment as a
      join experiments.metric as m on m.id = :metric
      left join experiments.outcome as o
        on o.experiment_id = a.experiment_id and o.metric_id = m.id and o.customer_id = a.customer_id
     where a.experiment_id = :id and a.t0 <= :latest_t0
       and mod(abs(hashtextextended(a.customer_id, 20260302) / 2), 1000000) < :share * 1000000
     order by a.customer_id
""")


class People(NamedTuple):
    """Columns of one length: ids, arms, probabilities, strata, features, outcomes."""

    customers: list[str]
    arms: list[str]
    probabilities: list[float]
    strata: list[str]
    features: list[dict[str, Any]]
    values: list[float]


def people(db: Db, experiment_id: UUID, metric_id: UUID, latest_t0: datetime, most: int) -> People:
    """Customers with t0 up to `latest_t0`: all, or, where they are more than `most`, about so many of them."""
    where = {"id": experiment_id, "latest_t0": latest_t0}
    total = int(db.execute(COUNT, where).scalar_one())
    share = min(1.0, most / max(1, total))
    rows = db.execute(PEOPLE, {**where, "metric": metric_id, "share": share}).all()
    columns = zip(*rows, strict=True) if rows else ([] for _ in People._fields)
    return People(*(list(column) for column in columns))
