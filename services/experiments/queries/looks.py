"""SQL about looks: what they counted day by day, and the looks themselves."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import numpy as np
import sqlalchemy as sa
from sqlmodel import col, select

from services.experiments.figures import Values
from services.experiments.queries import counting
from services.experiments.tables import LookRow
from shared.contracts.results import Look
from shared.db import Db

BY_DAY = counting.count(
    who="cross join unnest(cast(:days as integer[])) as h (day)",
    until="e.occurred_at < a.t0 + make_interval(hours => 24 * h.day)",
    where="a.experiment_id = :id",
    by_day=True,
)
COUNT = sa.text(f"""
    create temporary table counted on commit drop as
    select c.customer_id, c.metric_id, c.arm, c.stratum, c.day,
           least(c.value, cast(m.definition ->> 'cap' as float8)) as value
      from ({BY_DAY}) as c
      join experiments.metric as m on m.id = c.metric_id
     where c.value <> 0
""")  # noqa: S608  (constants of these modules)
SUMS = sa.text("""
    select c.metric_id, c.arm, c.stratum, c.day, count(*) as responders, avg(c.value) as mean,
           var_samp(c.value) as variance, avg(c.value * c.value * c.value) as mean_cube
      from pg_temp.counted as c
     where c.day = :day
     group by c.metric_id, c.arm, c.stratum, c.day
""")
PRODUCTS = sa.text("""
    select c.metric_id, c.arm, c.stratum, c.day, o.day as other_day,
           sum(c.value) as total, sum(c.value * o.value) as product
      from pg_temp.counted as c
      join pg_temp.counted as o
        on o.customer_id = c.customer_id and o.metric_id = c.metric_id and o.day >= c.day
     group by c.metric_id, c.arm, c.stratum, c.day, o.day
""")
VALUES = sa.text("""
    select c.arm, c.stratum, array_agg(c.value order by c.customer_id) as found
      from pg_temp.counted as c
     where c.metric_id = :metric and c.day = :day
     group by c.arm, c.stratum
""")
PLANNED = sa.text("""
    select s.metric_id, s.planned_variance from experiments.measured as s where s.experiment_id = :id
""")
FREEZE = sa.text("""
    update experiments.measured as s
       set planned_variance = coalesce(s.planned_variance, :variance)
     where s.experiment_id = :id and s.metric_id = :metric
""")
DROP = sa.text("drop table if exists pg_temp.counted")
PATIENT = sa.text("set local statement_timeout = '30min'")
DUE = sa.text("""
    select x.key
      from experiments.experiment as x
     where x.state in ('running', 'paused', 'stopped')
       and x.definition ->> 'method' <> 'fixed'
       and x.started_at <= :now - interval '1 day'
       and exists (select from experiments.cohort as c where c.experiment_id = x.id)
       and not exists (select from experiments.look as l
                        where l.experiment_id = x.id
                          and (l.taken_at > :now - interval '23 hours' or l.content @> '{"final": true}'))
     order by x.key
""")


class DaySums(NamedTuple):
    """Responders of an arm and stratum by a day after t0, and the moments of their values."""

    metric_id: UUID
    arm: str
    stratum: str
    day: int
    responders: int
    mean: float
    variance: float | None
    mean_cube: float


class Product(NamedTuple):
    """Sum of the values by `day`, and of their products with the same customers' values by `other_day`."""

    metric_id: UUID
    arm: str
    stratum: str
    day: int
    other_day: int
    total: float
    product: float


def count(db: Db, experiment_id: UUID, days: Sequence[int]) -> None:
    """Count everybody's outcomes by each of these days after t0, for the questions below in this transaction."""
    db.execute(PATIENT)
    db.execute(DROP)
    db.execute(COUNT, {"id": experiment_id, "days": sorted(set(days))})


def sums(db: Db, day: int) -> list[DaySums]:
    """Of what was counted: moments by one day."""
    return [DaySums(*row) for row in db.execute(SUMS, {"day": day})]


def products(db: Db) -> list[Product]:
    """Of what was counted: how the days hang together."""
    return [Product(*row) for row in db.execute(PRODUCTS)]


def values(db: Db, metric_id: UUID, day: int) -> Values:
    """Of what was counted: a metric's values by one day, by arm and stratum."""
    rows = db.execute(VALUES, {"metric": metric_id, "day": day})
    return {(row.arm, row.stratum): np.array(row.found, dtype=np.float64) for row in rows}


def planned(db: Db, experiment_id: UUID) -> dict[UUID, float | None]:
    """The frozen variance of one customer, by metric."""
    return {row.metric_id: row.planned_variance for row in db.execute(PLANNED, {"id": experiment_id})}


def freeze(db: Db, experiment_id: UUID, metric_id: UUID, variance: float) -> None:
    """Freeze the variance of one customer, unless it is."""
    db.execute(FREEZE, {"id": experiment_id, "metric": metric_id, "variance": variance})


def stored(db: Db, experiment_id: UUID) -> list[LookRow]:
    """All looks, oldest first."""
    query = select(LookRow).where(LookRow.experiment_id == experiment_id).order_by(col(LookRow.number))
    return list(db.exec(query))


def latest(db: Db, experiment_id: UUID) -> Look | None:
    """The latest look, if there is one."""
    query = select(LookRow).where(LookRow.experiment_id == experiment_id).order_by(col(LookRow.number).desc()).limit(1)
    row = db.exec(query).first()
    return None if row is None else Look.model_validate(row.content)


def store(db: Db, experiment_id: UUID, look: Look, past: Mapping[str, object]) -> None:
    """Keep a look for good."""
    row = LookRow(
        experiment_id=experiment_id,
        number=look.number,
        taken_at=look.taken_at,
        as_of=look.as_of,
        content=look.model_dump(mode="json"),
        past=dict(past),
    )
    db.add(row)
    db.flush()


def due(db: Db, now: datetime) -> list[str]:
    """Keys of experiments whose daily look the worker should take."""
    return [row.key for row in db.execute(DUE, {"now": now})]
