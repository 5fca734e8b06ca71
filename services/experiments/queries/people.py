"""SQL that reads customers one by one, with frozen features, for models of individual effects."""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import sqlalchemy as sa

from shared.db import Db

# Condition on the assignments `a`. A hash decides who is read, so that the same customers are read again and none comes
# before another by the id, which may carry the arm. `:most` or about so many, of the `{total}` there are.
SAMPLED = """
    mod(abs(hashtextextended(a.customer_id, 20260302) / 2), 1000000)
        < cast(1000000.0 * :most / greatest({total}, 1) as bigint)
"""
COUNT = sa.text("""
    select count(*) from experiments.assignment as a where a.experiment_id = :id and a.t0 <= :latest_t0
""")
PEOPLE = sa.text(f"""
    select a.customer_id, a.arm, a.probability, a.stratum, a.features,
           coalesce(least(o.value, cast(m.definition ->> 'cap' as float8)), 0) as value
      from experiments.assignment as a
      join experiments.metric as m on m.id = :metric
      left join experiments.outcome as o
        on o.experiment_id = a.experiment_id and o.metric_id = m.id and o.customer_id = a.customer_id
     where a.experiment_id = :id and a.t0 <= :latest_t0
       and {SAMPLED.format(total=":total")}
     order by a.customer_id
""")  # noqa: S608  (a constant of this module)


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
    rows = db.execute(PEOPLE, {**where, "metric": metric_id, "most": most, "total": total}).all()
    columns = zip(*rows, strict=True) if rows else ([] for _ in People._fields)
    return People(*(list(column) for column in columns))
