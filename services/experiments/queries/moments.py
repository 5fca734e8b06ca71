"""SQL that adds outcomes up: by arm, stratum and day of t0, for the mathematics to go on with.

Each figure can be read from what the tick accumulated, or counted anew from raw events up to an instant.
"""

from collections.abc import Collection
from datetime import date, datetime
from uuid import UUID

import numpy as np
import sqlalchemy as sa

from services.experiments.figures import Balance, Cohort, Discrepancies, Sums, Values
from services.experiments.queries import counting, people
from shared.db import Db
from shared.magnitudes import LARGEST

ACCUMULATED = f"""
    select o.customer_id, o.metric_id, o.arm, o.stratum, o.t0, {counting.bounded("o.value")} as value, o.other_currency
      from experiments.outcome as o
     where o.experiment_id = :id
"""  # noqa: S608  (constants of these modules)
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
           sum(y.uncapped) as total, max(abs(y.uncapped)) as largest, sum(y.other_currency) as other_currency,
           count(*) as customers, count(*) filter (where y.other_currency > 0) as lacking
      from (select c.metric_id, c.arm, c.stratum, cast(c.t0 at time zone 'UTC' as date) as day,
                   {capped} as value, c.value as uncapped, c.other_currency
              from counted as c
              join experiments.metric as m on m.id = c.metric_id) as y
     group by y.metric_id, y.arm, y.stratum, y.day
"""
SUMS_ACCUMULATED = sa.text(SUMS.format(counted=ACCUMULATED, capped=CAPPED))
SUMS_RECOUNTED = sa.text(SUMS.format(counted=RECOUNTED, capped=CAPPED))
COHORTS_ACCUMULATED = sa.text("""
    select c.arm, c.stratum, c.day, c.customers, c.earliest_t0, c.latest_t0
      from experiments.cohort as c
     where c.experiment_id = :id
""")
COHORTS_RECOUNTED = sa.text("""
    select a.arm, a.stratum, cast(a.t0 at time zone 'UTC' as date) as day, count(*) as customers,
           min(a.t0) as earliest_t0, max(a.t0) as latest_t0
      from experiments.assignment as a
     where a.experiment_id = :id and (a.source <> 'online' or a.t0 < cast(:until as timestamptz))
     group by 1, 2, 3
""")
VALUES = """
    with counted as ({counted})
    select y.arm, y.stratum, array_agg(y.value order by y.customer_id) as found
      from (select c.customer_id, c.arm, c.stratum, {capped} as value
              from counted as c
              join experiments.metric as m on m.id = c.metric_id
             where c.value <> 0 and c.metric_id = :metric
               and cast(c.t0 at time zone 'UTC' as date) = any(:days)) as y
     group by y.arm, y.stratum
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
    , differing as (
        select coalesce(r.customer_id, o.customer_id) as customer_id
          from recounted as r
          full join (select o.customer_id, o.metric_id, o.arm, o.value, o.other_currency
                       from experiments.outcome as o
                      where o.experiment_id = :id) as o
            on o.customer_id = r.customer_id and o.metric_id = r.metric_id
         where (r.arm, r.value, r.other_currency) is distinct from (o.arm, o.value, o.other_currency)
    ), assigned as (
        select a.arm, a.stratum, cast(a.t0 at time zone 'UTC' as date) as day, count(*) as customers,
               min(a.t0) as earliest_t0, max(a.t0) as latest_t0
          from experiments.position as p
          join experiments.assignment as a on a.experiment_id = :id and a.xid < p.xid
         where p.consumer = 'outcomes'
         group by 1, 2, 3
    ), resized as (
        select 1
          from assigned as a
          full join (select c.arm, c.stratum, c.day, c.customers, c.earliest_t0, c.latest_t0
                       from experiments.cohort as c
                      where c.experiment_id = :id) as c
            on c.arm = a.arm and c.stratum = a.stratum and c.day = a.day
         where (a.customers, a.earliest_t0, a.latest_t0) is distinct from (c.customers, c.earliest_t0, c.latest_t0)
    )
    select (select count(*) from resized)
         + (select count(*)
              from differing as d
             where not exists (select from pending as p where p.customer_id = d.customer_id))
""")  # noqa: S608  (constants of these modules)
COUNTED = "(select sum(c.customers) from experiments.cohort as c where c.experiment_id = :id)"
BALANCE = sa.text(f"""
    select f.key as feature, a.arm, count(*) as n, avg(cast(n.value as float8)) as mean,
           var_samp(cast(n.value as float8)) as variance
      from experiments.assignment as a
     cross join lateral jsonb_each(a.features) as f
     cross join lateral (
            select case when jsonb_typeof(f.value) = 'number' then cast(f.value as numeric) end as value) as n
     where a.experiment_id = :id
       and {people.SAMPLED.format(total=COUNTED)}
       and n.value between -{LARGEST} and {LARGEST}
     group by f.key, a.arm
""")  # noqa: S608
DISCREPANCIES = sa.text("""
    select coalesce(sum(d.early), 0) as early, coalesce(sum(d.other_arm), 0) as other_arm,
           coalesce(sum(d.contacted), 0) as contacted
      from experiments.discrepancy as d
     where d.experiment_id = :id
""")


def cohorts(db: Db, experiment_id: UUID, until: datetime | None) -> list[Cohort]:
    """Customers assigned, also those whose t0 is still to come: as the tick accumulated them, or counted anew.

    Of customers who come by online those who had come by `until`.
    """
    statement = COHORTS_ACCUMULATED if until is None else COHORTS_RECOUNTED
    return [Cohort(*row) for row in db.execute(statement, {"id": experiment_id, "until": until})]


def sums(db: Db, experiment_id: UUID, until: datetime | None) -> list[Sums]:
    """Outcomes by metric, arm, stratum and day: accumulated, or counted anew up to `until`."""
    statement = SUMS_ACCUMULATED if until is None else SUMS_RECOUNTED
    return [Sums(*row) for row in db.execute(statement, {"id": experiment_id, "until": until})]


def values(db: Db, experiment_id: UUID, metric_id: UUID, days: Collection[date], until: datetime | None) -> Values:
    """A metric's values other than zero, by arm and stratum, of customers whose t0 falls on these days."""
    statement = VALUES_ACCUMULATED if until is None else VALUES_RECOUNTED
    where = {"id": experiment_id, "metric": metric_id, "days": sorted(days), "until": until}
    return {(row.arm, row.stratum): np.array(row.found, dtype=np.float64) for row in db.execute(statement, where)}


def disagreements(db: Db, experiment_id: UUID) -> int:
    """Outcomes and sizes of cohorts whose recount differs from what was accumulated, where nothing waits. Must be 0."""
    return int(db.execute(DISAGREEMENTS, {"id": experiment_id}).scalar_one())


def balance(db: Db, experiment_id: UUID, most: int) -> list[Balance]:
    """Numeric frozen features by arm, of all customers, or, where they are more than `most`, of about so many."""
    return [Balance(*row) for row in db.execute(BALANCE, {"id": experiment_id, "most": most})]


def discrepancies(db: Db, experiment_id: UUID) -> Discrepancies:
    """Events that speak of the experiment and do not fit it."""
    return Discrepancies(*db.execute(DISCREPANCIES, {"id": experiment_id}).one())
