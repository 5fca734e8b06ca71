"""How far audience has read what others publish: positions by transaction id, true for one cluster only."""

from typing import NamedTuple

import sqlalchemy as sa

from shared.db import Db

WINDOW = sa.text("""
    select cast(coalesce(p.xid, '0') as text) as low, cast(b.high as text) as high, b.cluster
      from (select pg_snapshot_xmin(pg_current_snapshot()) as high, s.system_identifier as cluster
              from pg_control_system() as s) as b
      left join audience.position as p on p.consumer = :consumer and p.cluster = b.cluster
""")
MOVE = sa.text("""
    insert into audience.position (consumer, cluster, xid)
    values (:consumer, :cluster, cast(:xid as xid8))
        on conflict (consumer) do update set cluster = excluded.cluster, xid = excluded.xid
""")
WAITING = sa.text("""
    select count(distinct w.batch_id) as batches, min(b.received_at) as oldest
      from published.feedback_withdrawals as w
      join published.feedback_batches as b on b.batch_id = w.batch_id
     where w.xid >= cast(:low as xid8)
""")


class Window(NamedTuple):
    """Transactions from `low` up to, not including, `high`: all of them have ended."""

    low: str
    high: str
    cluster: int


def window(db: Db, consumer: str) -> Window:
    """What a consumer has not read yet; everything, where the position belongs to another cluster."""
    return Window(*db.execute(WINDOW, {"consumer": consumer}).one())


def move(db: Db, consumer: str, read: Window) -> None:
    """Everything before `read.high` is taken in; committed together with its effect."""
    db.execute(MOVE, {"consumer": consumer, "cluster": read.cluster, "xid": read.high})


def waiting(db: Db, low: str) -> tuple[int, float]:
    """(batches with withdrawals from `low` on, age in seconds of the oldest)."""
    row = db.execute(WAITING, {"low": low}).one()
    age = db.execute(sa.text("select extract(epoch from clock_timestamp() - :oldest)"), {"oldest": row.oldest}).scalar()
    return row.batches, float(age or 0.0)
