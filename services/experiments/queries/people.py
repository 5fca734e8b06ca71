"""SQL that reads customers one by one, with frozen features, for models of individual effects."""

from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import sqlalchemy as sa

from services.experiments.queries import counting
from shared.db import Db

# Condition on the assignments `a`. A hash decides who is read, so that the same customers are read again and none comes
# before another by the id, which may carry the arm. `:most` or about so many, of the `{total}` there are.
SAMPLED = """
    mod(abs(hashtextextended(a.customer_id, 20260302) / 2), 1000000)
        < cast(1000000.0 * :most / greatest({total}, 1) as bigint)
"""
# Assignments are never changed or removed, and an earlier `latest_t0` loses those with the largest t0.
VERSION = sa.text("""
    select a.customers, a.latest_t0, o.outcomes
      from (select count(*) as customers, max(a.t0) as latest_t0
              from experiments.assignment as a
             where a.experiment_id = :id and a.t0 <= :latest_t0) as a
     cross join (select coalesce(sum(hashtextextended(concat_ws(' ', o.customer_id, o.value), 0)), 0) as outcomes
                   from experiments.outcome as o
                  where o.experiment_id = :id and o.metric_id = :metric and o.t0 <= :latest_t0) as o
""")
PEOPLE = sa.text(f"""
    select a.customer_id, a.arm, a.probability, a.stratum, a.features,
           least({counting.bounded("coalesce(o.value, 0)")}, cast(m.definition ->> 'cap' as float8)) as value
      from experiments.assignment as a
      join experiments.metric as m on m.id = :metric
      left join experiments.outcome as o
        on o.experiment_id = a.experiment_id and o.metric_id = m.id and o.customer_id = a.customer_id
     where a.experiment_id = :id and a.t0 <= :latest_t0
       and {SAMPLED.format(total=":total")}
     order by a.customer_id
""")  # noqa: S608  (constants of these modules)


class People(NamedTuple):
    """Columns of one length: ids, arms, probabilities, strata, features, outcomes."""

    customers: list[str]
    arms: list[str]
    probabilities: list[float]
    strata: list[str]
    features: list[dict[str, Any]]
    values: list[float]


class Version(NamedTuple):
    """Differs wherever the customers or their outcomes do: how many, the last t0, a digest of what was counted."""

    customers: int
    latest_t0: datetime | None
    outcomes: Decimal


def version(db: Db, experiment_id: UUID, metric_id: UUID, latest_t0: datetime) -> Version:
    """What `people` would read, in short."""
    where = {"id": experiment_id, "metric": metric_id, "latest_t0": latest_t0}
    return Version(*db.execute(VERSION, where).one())


def people(db: Db, experiment_id: UUID, metric_id: UUID, seen: Version, most: int) -> People:
    """The customers of a version: all, or, where they are more than `most`, about so many of them."""
    where = {"id": experiment_id, "metric": metric_id, "latest_t0": seen.latest_t0}
    rows = db.execute(PEOPLE, {**where, "most": most, "total": seen.customers}).all()
    columns = zip(*rows, strict=True) if rows else ([] for _ in People._fields)
    return People(*(list(column) for column in columns))
