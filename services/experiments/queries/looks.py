"""SQL about looks: what they counted day by day, and the looks themselves."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from math import nan
from typing import Any
from uuid import UUID

import numpy as np
import sqlalchemy as sa
from sqlmodel import col, select

from services.experiments.figures import ByDay
from services.experiments.queries import counting
from services.experiments.tables import LookRow
from shared.contracts.base import read
from shared.contracts.results import Look
from shared.db import Db

# Which of the days an event falls before: 0 the first, 1 the second. An event is counted once, in the span that ends
# with its day, and the spans are added up; counted by each day anew it would be fourteen times the work.
SPAN = "width_bucket(e.occurred_at - a.t0, cast(:ends as interval[]))"
IN_SPANS = counting.count(
    until="e.occurred_at < a.t0 + make_interval(hours => 24 * cast(:last_day as integer))",
    where="a.experiment_id = :id",
    span=SPAN,
)
SO_FAR = counting.bounded("cast(sum(i.value) over so_far as float8)")
BY_DAY = sa.text(f"""
    select c.metric_id, c.arm, c.stratum, array_agg(c.first order by c.customer_id, c.span) as firsts,
           array_agg(c.span order by c.customer_id, c.span) as spans,
           array_agg(c.value order by c.customer_id, c.span) as found
      from (select i.customer_id, i.metric_id, i.arm, i.stratum, i.width_bucket as span,
                   row_number() over so_far = 1 as first,
                   least(case when m.kind = 'proportion' then 1
                              else {SO_FAR}
                         end, cast(m.definition ->> 'cap' as float8)) as value
              from ({IN_SPANS}) as i
              join experiments.metric as m on m.id = i.metric_id
            window so_far as (partition by i.metric_id, i.customer_id order by i.width_bucket)) as c
     group by c.metric_id, c.arm, c.stratum
""")  # noqa: S608  (constants of these modules)
PLANNED = sa.text("""
    select s.metric_id, s.planned_variance from experiments.measured as s where s.experiment_id = :id
""")
FREEZE = sa.text("""
    update experiments.measured as s
       set planned_variance = coalesce(s.planned_variance, :variance)
     where s.experiment_id = :id and s.metric_id = :metric
""")
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


def by_day(db: Db, experiment_id: UUID, days: Sequence[int]) -> list[ByDay]:
    """Count everybody's outcomes by each of these days after t0, which rise."""
    given = {"id": experiment_id, "ends": [timedelta(days=day) for day in days], "last_day": days[-1]}
    return [_filled(row, len(days)) for row in db.execute(BY_DAY, given)]


def _filled(row: sa.Row[Any], days: int) -> ByDay:
    """A customer's value by a day is that of the last span until then in which anything happened."""
    customers = np.cumsum(np.array(row.firsts, dtype=np.int64)) - 1
    values = np.full((customers[-1] + 1, days), nan)
    values[customers, row.spans] = row.found
    values[np.isnan(values[:, 0]), 0] = 0.0
    for day in range(1, days):
        values[:, day] = np.where(np.isnan(values[:, day]), values[:, day - 1], values[:, day])
    return ByDay(row.metric_id, row.arm, row.stratum, values)


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
    return None if row is None else read(Look, row.content)


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
