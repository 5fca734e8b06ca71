"""SQL of RFM: all customers scored by one statement. Its meaning is specified in `learn/rfm.py`."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa

from shared.contracts.base import JsonValue
from shared.db import Db

# Who objects to profiling is in no model, and in no figure about one.
ALLOWED = """
           not exists (select
                         from published.audience_portraits as p
                        where p.customer_id = e.customer_id and p.profiling is false)"""

CURRENCIES = sa.text(f"""
    select e.currency, count(*) as events
      from feedback.event as e
     where e.kind = :kind and e.occurred_at < :as_of and e.value is not null and {ALLOWED}
     group by e.currency
     order by events desc, e.currency
""")  # noqa: S608

# rank() - 1 customers have less, count(*) over its value the same: equal values share the rank in their middle.
SCORE = sa.text(f"""
    insert into feedback.score (run_id, customer_id, traits)
    with bought as (
      select e.customer_id,
             floor(extract(epoch from cast(:as_of as timestamptz) - max(e.occurred_at)) / 86400)::int as days,
             count(distinct coalesce(e.properties ->> :purchase, e.event_id)) as purchases,
             sum(e.value) as monetary
        from feedback.event as e
       where e.kind = :kind and e.occurred_at < :as_of and e.currency = :currency and e.value is not null
         and {ALLOWED}
       group by e.customer_id
    ), ranked as (
      select b.customer_id, b.days, b.purchases, b.monetary, 2 * count(*) over () as twice,
             2 * rank() over (order by b.days desc) - 3 + count(*) over (partition by b.days) as recent,
             2 * rank() over (order by b.purchases) - 3 + count(*) over (partition by b.purchases) as often,
             2 * rank() over (order by b.monetary) - 3 + count(*) over (partition by b.monetary) as much
        from bought as b
    ), scored as (
      select r.customer_id, r.days, r.purchases, r.monetary, 1 + 5 * r.recent / r.twice as recency,
             1 + 5 * r.often / r.twice as frequency, 1 + 5 * r.much / r.twice as value
        from ranked as r
    )
    select :run_id, s.customer_id,
           jsonb_build_object(
             'rfm_recency_days', s.days, 'rfm_frequency', s.purchases, 'rfm_monetary', s.monetary,
             'rfm_recency_score', s.recency, 'rfm_frequency_score', s.frequency, 'rfm_monetary_score', s.value,
             'rfm_segment', (cast(:segments as text[]))[(s.recency - 1) * 5 + s.frequency])
      from scored as s
     order by s.customer_id
""")  # noqa: S608

FIGURES = sa.text("""
    select count(*) as customers, coalesce(sum(cast(s.traits ->> 'rfm_frequency' as numeric)), 0) as purchases,
           coalesce(sum(cast(s.traits ->> 'rfm_monetary' as numeric)), 0) as monetary
      from feedback.score as s
     where s.run_id = :run_id
""")
SEGMENTS = sa.text("""
    select s.traits ->> 'rfm_segment' as segment, count(*) as customers
      from feedback.score as s
     where s.run_id = :run_id
     group by 1
     order by 2 desc, 1
""")
OBJECTING = sa.text(f"""
    select count(distinct e.customer_id)
      from feedback.event as e
     where e.kind = :kind and e.occurred_at < :as_of and e.currency = :currency and e.value is not null
       and not {ALLOWED}
""")  # noqa: S608
WINDOW = sa.text(f"""
    select min(e.occurred_at) as first, max(e.occurred_at) as last, count(*) as events
      from feedback.event as e
     where e.kind = :kind and e.occurred_at < :as_of and e.currency = :currency and e.value is not null
       and {ALLOWED}
""")  # noqa: S608


class Purchases(NamedTuple):
    """Which events are purchases, and until when they count."""

    kind: str
    purchase: str
    as_of: datetime
    currency: str


def currencies(db: Db, kind: str, as_of: datetime) -> dict[str, int]:
    """How many purchases are in which currency, most first."""
    return {row.currency: row.events for row in db.execute(CURRENCIES, {"kind": kind, "as_of": as_of})}


def score(db: Db, run_id: UUID, purchases: Purchases, segments: list[str]) -> None:
    """Score every customer who bought; `segments` are the 25 names, by recency score then frequency score."""
    db.execute(SCORE, {**purchases._asdict(), "run_id": run_id, "segments": segments})


def figures(db: Db, run_id: UUID) -> dict[str, JsonValue]:
    """What a run came to: customers, purchases, monetary value (exact, as a string), customers by segment."""
    row = db.execute(FIGURES, {"run_id": run_id}).one()
    by_segment = {found.segment: found.customers for found in db.execute(SEGMENTS, {"run_id": run_id})}
    return {
        "customers": row.customers,
        "purchases": int(row.purchases),
        "monetary": format(row.monetary, "f"),
        "segments": by_segment,
    }


def objecting(db: Db, purchases: Purchases) -> int:
    """How many customers bought and are left out because they object to profiling."""
    return int(db.execute(OBJECTING, purchases._asdict()).scalar_one())


def window(db: Db, purchases: Purchases) -> dict[str, JsonValue]:
    """The time and number of the events that a run rests on."""
    row = db.execute(WINDOW, purchases._asdict()).one()
    return {
        "first": row.first.isoformat() if row.first else None,
        "last": row.last.isoformat() if row.last else None,
        "events": row.events,
    }
