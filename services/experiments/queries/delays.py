"""SQL about how late events arrive: what was seen lately, and the usual lag that follows from it."""

from datetime import datetime, timedelta

import sqlalchemy as sa

from services.experiments.counted import REMEMBERED
from shared.db import Db

REMEMBER = sa.text("""
    insert into experiments.arrival_delay as d (day, kind, minutes, events)
    select a.day, a.kind,
           cast(case when a.minutes < 60 then a.minutes else ceil(a.minutes / 60) * 60 end as integer), count(*)
      from (select cast(e.received_at at time zone 'UTC' as date) as day, e.kind,
                   ceil(extract(epoch from greatest(e.received_at - e.occurred_at, interval '0')) / 60) as minutes
              from published.feedback_batches as b
              join published.feedback_events as e on e.batch_id = b.batch_id
             where b.xid >= cast(:position as xid8) and b.xid < cast(:bound as xid8)
               and e.received_at >= :since
               and e.received_at - e.occurred_at <= :remembered) as a
     group by 1, 2, 3
        on conflict (day, kind, minutes) do update set events = d.events + excluded.events
""").bindparams(remembered=REMEMBERED)
FORGET = sa.text("""
    delete from experiments.arrival_delay as d
     where d.day < cast(cast(:since as timestamptz) at time zone 'UTC' as date)
""")
# Each kind by itself: orders that come in one nightly file would not be seen among the many views of a day.
BY_KIND = """
    select t.kind, min(t.minutes) as minutes
      from (select d.kind, d.minutes,
                   sum(sum(d.events)) over (partition by d.kind order by d.minutes) as so_far,
                   sum(sum(d.events)) over (partition by d.kind) as events
              from experiments.arrival_delay as d
             where exists (select from experiments.metric_event as m where m.kind = d.kind)
             group by d.kind, d.minutes) as t
     where t.so_far >= 0.99 * t.events
     group by t.kind
"""
USUAL = sa.text(f"select coalesce(max(k.minutes), 0) as minutes from ({BY_KIND}) as k")  # noqa: S608
# The kind that makes the usual lag, and the last day on which events of it came as late.
SLOWEST = f"""
    select k.kind, (select max(d.day)
                      from experiments.arrival_delay as d
                     where d.kind = k.kind and d.minutes >= k.minutes) as last_came
      from ({BY_KIND}) as k
     where k.minutes > 0
     order by k.minutes desc, k.kind
     limit 1
"""  # noqa: S608  (constants of this module)
EMPTY = sa.text("select not exists (select from experiments.arrival_delay) as empty")


def none_known(db: Db) -> bool:
    """Whether nothing is remembered."""
    return bool(db.execute(EMPTY).scalar_one())


def remember(db: Db, since: str, bound: str, at: datetime) -> None:
    """Note how late the events came that arrived between two positions, if that was lately; `at` is now."""
    db.execute(REMEMBER, {"position": since, "bound": bound, "since": at - REMEMBERED})


def usual_lag(db: Db, at: datetime) -> timedelta:
    """Within how long 99 of 100 events have arrived, of the slowest kind that a metric counts, in the last days.

    Zero where nothing arrived. Days that are over are forgotten.
    """
    db.execute(FORGET, {"since": at - REMEMBERED})
    return timedelta(minutes=db.execute(USUAL).scalar_one())
