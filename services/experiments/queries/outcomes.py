"""SQL of the outcomes' tick: count again everybody touched by what arrived, in one transaction with the position."""

from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa

from services.experiments.counted import Pending
from services.experiments.lifecycle import Counting
from services.experiments.queries import counting, delays
from shared.db import Db
from shared.magnitudes import LARGEST

BEGIN = sa.text("""
    insert into experiments.position (consumer, cluster, xid, moved_at)
    select 'outcomes', c.system_identifier, '0', :now from pg_control_system() as c
        on conflict do nothing
""")
POSITION = sa.text("""
    select p.xid, p.cluster = c.system_identifier as same_cluster, p.usual_lag,
           pg_snapshot_xmin(pg_current_snapshot()) as bound, clock_timestamp() as at, c.system_identifier as cluster
      from experiments.position as p
     cross join pg_control_system() as c
     where p.consumer = 'outcomes'
       for update of p skip locked
""")
MOVE = sa.text("""
    update experiments.position as p
       set xid = cast(:bound as xid8), cluster = :cluster, moved_at = :at, usual_lag = :usual_lag
     where p.consumer = 'outcomes'
""")
LIVE = "x.state <> 'archived'"
# A worker of the earlier release knows no bound, and counts beside this one during an upgrade. An index has just these.
TOO_LARGE = f"""
    select o.customer_id
      from experiments.outcome as o
      join experiments.experiment as x on x.id = o.experiment_id and {LIVE}
     where abs(o.value) > {LARGEST}
"""  # noqa: S608  (constants of these modules)
ARRIVED = sa.text(f"""
    select exists (select from published.feedback_batches as b
                    where b.xid >= cast(:position as xid8) and b.xid < cast(:bound as xid8))
        or exists (select from experiments.assignment as a
                    where a.xid >= cast(:position as xid8) and a.xid < cast(:bound as xid8))
        or exists ({TOO_LARGE}) as found
""")  # noqa: S608
TOUCHED = sa.text(f"""
    create temporary table touched on commit drop as
    select e.customer_id
      from published.feedback_batches as b
      join published.feedback_events as e on e.batch_id = b.batch_id
     where b.xid >= cast(:position as xid8) and b.xid < cast(:bound as xid8)
     union
    select a.customer_id
      from experiments.assignment as a
     where a.xid >= cast(:position as xid8) and a.xid < cast(:bound as xid8)
     union
    {TOO_LARGE}
""")  # noqa: S608
INDEX = sa.text("create unique index on pg_temp.touched (customer_id)")
ANALYZE = sa.text("analyze pg_temp.touched")
WHO = f"""
      join pg_temp.touched as t on t.customer_id = a.customer_id
      join experiments.experiment as x on x.id = a.experiment_id and {LIVE}
"""
FORGET = sa.text(f"""
    delete from experiments.outcome as o
     using pg_temp.touched as t, experiments.experiment as x
     where o.customer_id = t.customer_id and x.id = o.experiment_id and {LIVE}
""")  # noqa: S608  (constants of this module)
RECOUNT = sa.text(f"""
    insert into experiments.outcome
           (customer_id, experiment_id, metric_id, arm, t0, stratum, value, other_currency)
    select c.customer_id, c.experiment_id, c.metric_id, c.arm, c.t0, c.stratum, c.value, c.other_currency
      from ({counting.count(who=WHO)}) as c
""")  # noqa: S608
FORGET_DISCREPANCIES = sa.text(f"""
    delete from experiments.discrepancy as d
     using pg_temp.touched as t, experiments.experiment as x
     where d.customer_id = t.customer_id and x.id = d.experiment_id and {LIVE}
""")  # noqa: S608
DISCREPANCIES = sa.text(f"""
    insert into experiments.discrepancy (customer_id, experiment_id, early, other_arm, contacted)
    select a.customer_id, a.experiment_id,
           count(*) filter (where e.occurred_at < a.t0),
           count(*) filter (where e.experiment = x.key and e.arm <> a.arm),
           count(*) filter (where e.kind in ('sent', 'delivered') and not r.contact)
      from experiments.assignment as a
      {WHO}
      join experiments.arm as r on r.experiment_id = a.experiment_id and r.key = a.arm
      join published.feedback_events as e
        on e.customer_id = a.customer_id
       and (e.experiment = x.key or e.target_list = x.target_list_id)
     where e.occurred_at < a.t0
        or e.experiment = x.key and e.arm <> a.arm
        or e.kind in ('sent', 'delivered') and not r.contact
     group by a.customer_id, a.experiment_id
""")  # noqa: S608
COHORTS = sa.text(f"""
    insert into experiments.cohort as c (experiment_id, arm, stratum, day, customers, earliest_t0, latest_t0)
    select a.experiment_id, a.arm, a.stratum, cast(a.t0 at time zone 'UTC' as date), count(*), min(a.t0), max(a.t0)
      from experiments.assignment as a
      join experiments.experiment as x on x.id = a.experiment_id and {LIVE}
     where a.xid >= cast(:position as xid8) and a.xid < cast(:bound as xid8)
     group by 1, 2, 3, 4
        on conflict (experiment_id, day, stratum, arm) do update
       set customers = c.customers + excluded.customers,
           earliest_t0 = least(c.earliest_t0, excluded.earliest_t0),
           latest_t0 = greatest(c.latest_t0, excluded.latest_t0)
""")  # noqa: S608
# What is archived is never counted again: it stays as it was counted.
START_OVER = (
    *(
        sa.text(f"""
            delete from experiments.{table} as d
             using experiments.experiment as x
             where x.id = d.experiment_id and {LIVE}
        """)  # noqa: S608
        for table in ("cohort", "outcome", "discrepancy")
    ),
    sa.text("delete from experiments.arrival_delay"),
)
PENDING = sa.text(f"""
    select p.xid, p.moved_at, p.usual_lag, min(b.received_at) as oldest,
           count(b.batch_id)
           + cast(exists (select from experiments.assignment as a where a.xid >= p.xid) as int) as batches,
           s.kind as slowest, s.last_came
      from experiments.position as p
      left join published.feedback_batches as b on b.xid >= p.xid
      left join ({delays.SLOWEST}) as s on true
     where p.consumer = 'outcomes'
     group by p.xid, p.moved_at, p.usual_lag, s.kind, s.last_came
""")  # noqa: S608  (constants of these modules)
COUNTING = sa.text("""
    select max(a.t0) + make_interval(hours => 24 * (select max(m.window_days)
                                                      from experiments.measured as s
                                                      join experiments.metric as m on m.id = s.metric_id
                                                     where s.experiment_id = :id)) as closes,
           coalesce(bool_or(a.xid >= coalesce(p.xid, '0')), false) as waiting,
           max(p.moved_at) as counted_at, coalesce(max(p.usual_lag), interval '0') as usual_lag
      from experiments.assignment as a
      left join experiments.position as p on p.consumer = 'outcomes'
     where a.experiment_id = :id
""")


class Position(NamedTuple):
    """How far arrivals are counted, and how far they could be: xids, as text."""

    xid: str
    same_cluster: bool
    usual_lag: timedelta
    bound: str
    at: datetime
    cluster: int


def position(db: Db, now: datetime) -> Position | None:
    """Take the position for this transaction; None while another worker has it."""
    db.execute(BEGIN, {"now": now})
    row = db.execute(POSITION).one_or_none()
    return None if row is None else Position(**{**row._mapping, "xid": str(row.xid), "bound": str(row.bound)})


def start_over(db: Db) -> None:
    """Forget what was counted and can be counted again: the database came from another cluster, whose positions mean
    nothing here."""
    for statement in START_OVER:
        db.execute(statement)


def arrived(db: Db, since: str, bound: str) -> bool:
    """Whether anything arrived between two positions, or somebody is to be counted again without that."""
    return bool(db.execute(ARRIVED, {"position": since, "bound": bound}).scalar_one())


def recount(db: Db, since: str, bound: str) -> int:
    """Count everybody anew whom an arrival between two positions touched, or whose outcome is too large to be added up;
    how many they are."""
    span = {"position": since, "bound": bound}
    touched = db.execute(TOUCHED, span).rowcount  # type: ignore[attr-defined]
    db.execute(INDEX)
    db.execute(ANALYZE)
    db.execute(FORGET)
    db.execute(RECOUNT)
    db.execute(FORGET_DISCREPANCIES)
    db.execute(DISCREPANCIES)
    db.execute(COHORTS, span)
    return int(touched)


def move(db: Db, to: Position, lag: timedelta) -> None:
    """Move the position; it becomes true with all that was counted, or not at all."""
    db.execute(MOVE, {"bound": to.bound, "cluster": to.cluster, "at": to.at, "usual_lag": lag})


def pending(db: Db) -> Pending | None:
    """How far counting is; None before the first tick."""
    row = db.execute(PENDING).one_or_none()
    return None if row is None else Pending(**{**row._mapping, "xid": str(row.xid)})


def counting_of(db: Db, experiment_id: UUID) -> Counting:
    """How far an experiment is counted, and when all of it can be."""
    return Counting(*db.execute(COUNTING, {"id": experiment_id}).one())
