"""SQL that adds outcomes up: by arm, stratum and day of t0, for the mathematics to go on with.

Each figure can be read from what the tick accumulated, or counted anew from raw events up to an instant.
"""

from collections import defaultdict
from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from services.experiments.queries import counting
from shared.db import Db

ACCUMULATED = """
    select o.customer_id, o.metric_id, o.arm, o.stratum, o.t0, o.value, o.other_currency
      from experiments.outcome as o
     where o.experiment_id = :id
"""
RECOUNTED = counting.count(
    until="e.occurred_at < cast(:until as timestamptz)",
    where="a.experiment_id = :id and a.t0 < cast(:until as timestamptz)",
)
CAPPED = "least(c.value, cast(m.definition ->> 'cap' as float8))"
SUMS = """
    with counted as ({counted})
    select y.metric_id, y.arm, y.stratum, y.day, count(*) filter (where y.value <> 0) as responders,
           avg(y.value) filter (where y.value <> 0) as mean,
           var_samp(y.value) filter (where y.value <> 0) as variance,
           avg(y.value * y.value * y.value) filter (where y.value <> 0) as mean_cube,
           sum(y.uncapped) as total, max(abs(y.uncapped)) as largest, sum(y.other_currency) as other_currency
      from (select c.metric_id, c.arm, c.stratum, cast(c.t0 at time zone 'UTC' as date) as day,
                   {capped} as value, c.value as uncapped, c.other_currency
              from counted as c
              join experiments.metric as m on m.id = c.metric_id) as y
     group by y.metric_id, y.arm, y.stratum, y.day
"""
SUMS_ACCUMULATED = sa.text(SUMS.format(counted=ACCUMULATED, capped=CAPPED))
SUMS_RECOUNTED = sa.text(SUMS.format(counted=RECOUNTED, capped=CAPPED))
COHORTS_ACCUMULATED = sa.text("""
    select c.arm, c.stratum, c.day, c.customers, max(c.latest_t0) over (partition by c.day) as latest_t0
      from experiments.cohort as c
     where c.experiment_id = :id
""")
COHORTS_RECOUNTED = sa.text("""
    select c.arm, c.stratum, c.day, c.customers, max(c.latest_t0) over (partition by c.day) as latest_t0
      from (select a.arm, a.stratum, cast(a.t0 at time zone 'UTC' as date) as day, count(*) as customers,
                   max(a.t0) as latest_t0
              from experiments.assignment as a
             where a.experiment_id = :id and a.t0 < cast(:until as timestamptz)
             group by 1, 2, 3) as c
""")
VALUES = """
    with counted as ({counted})
    select y.metric_id, y.arm, y.stratum, array_agg(y.value order by y.customer_id) as found
      from (select c.customer_id, c.metric_id, c.arm, c.stratum, {capped} as value
              from counted as c
              join experiments.metric as m on m.id = c.metric_id
             where c.value <> 0 and c.metric_id = any(:metrics)) as y
     group by y.metric_id, y.arm, y.stratum
"""
VALUES_ACCUMULATED = sa.text(VALUES.format(counted=ACCUMULATED, capped=CAPPED))
VALUES_RECOUNTED = sa.text(VALUES.format(counted=RECOUNTED, capped=CAPPED))
DISAGREEMENTS = sa.text(f"""
    with pending as (
        select e.customer_id
          from experiments.position as p
          join published.feedback_batches as b on b.xid >= p.xid
          join published.feedback_events as e on e.batch_id = b.batch_id
         where p.consumer = 'outcomes'
         union
        select a.customer_id
          from experiments.position as p
          join experiments.assignment as a on a.experiment_id = :id and a.xid >= p.xid
         where p.consumer = 'outcomes'
    ), recounted as ({counting.count(where="a.experiment_id = :id")})
    select count(*)
      from (select customer_id, r.metric_id, r.arm, r.value, r.other_currency from recounted as r) as r
      full join (select o.customer_id, o.metric_id, o.arm, o.value, o.other_currency
                   from experiments.outcome as o
                  where o.experiment_id = :id) as o
     using (customer_id, metric_id)
     where (r.arm, r.value, r.other_currency) is distinct from (o.arm, o.value, o.other_currency)
       and not exists (select from pending as p where p.customer_id = customer_id)
""")  # noqa: S608  (constants of these modules)
DISCREPANCIES = sa.text("""
    select coalesce(sum(d.early), 0) as early, coalesce(sum(d.other_arm), 0) as other_arm,
           coalesce(sum(d.contacted), 0) as contacted
      from experiments.discrepancy as d
     where d.experiment_id = :id
""")


class Cohort(NamedTuple):
    """Customers of one arm and stratum whose t0 falls on one day; `latest_t0` of any arm on that day."""

    arm: str
    stratum: str
    day: date
    customers: int
    latest_t0: datetime


class Sums(NamedTuple):
    """What the customers of a cohort with an outcome have, capped; `total` and `largest` are uncapped."""

    metric_id: UUID
    arm: str
    stratum: str
    day: date
    responders: int
    mean: float | None
    variance: float | None
    mean_cube: float | None
    total: float
    largest: float
    other_currency: int


class Discrepancies(NamedTuple):
    """Events that do not fit the assignments: before t0, naming another arm, contacts of arms without contact."""

    early: int
    other_arm: int
    contacted: int


Values = dict[tuple[UUID, str, str], NDArray[np.float64]]


def cohorts(db: Db, experiment_id: UUID, until: datetime | None) -> list[Cohort]:
    """Customers assigned: as the tick accumulated them, or all whose t0 lies before `until`."""
    statement = COHORTS_ACCUMULATED if until is None else COHORTS_RECOUNTED
    return [Cohort(*row) for row in db.execute(statement, {"id": experiment_id, "until": until})]


def sums(db: Db, experiment_id: UUID, until: datetime | None) -> list[Sums]:
    """Outcomes by metric, arm, stratum and day: accumulated, or counted anew up to `until`."""
    statement = SUMS_ACCUMULATED if until is None else SUMS_RECOUNTED
    return [Sums(*row) for row in db.execute(statement, {"id": experiment_id, "until": until})]


def values(db: Db, experiment_id: UUID, metrics: list[UUID], until: datetime | None) -> Values:
    """The values other than zero, by metric, arm and stratum, in the order of the customers' ids."""
    statement = VALUES_ACCUMULATED if until is None else VALUES_RECOUNTED
    found: Values = defaultdict(lambda: np.empty(0))
    for row in db.execute(statement, {"id": experiment_id, "metrics": metrics, "until": until}):
        found[row.metric_id, row.arm, row.stratum] = np.array(row.found, dtype=np.float64)
    return found


def disagreements(db: Db, experiment_id: UUID) -> int:
    """Outcomes whose recount differs from what was accumulated, of customers for whom nothing waits. Must be 0."""
    return int(db.execute(DISAGREEMENTS, {"id": experiment_id}).scalar_one())


def discrepancies(db: Db, experiment_id: UUID) -> Discrepancies:
    """Events that speak of the experiment and do not fit it."""
    return Discrepancies(*db.execute(DISCREPANCIES, {"id": experiment_id}).one())
