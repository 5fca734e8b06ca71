"""SQL about metrics."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from shared.contracts.metrics import Metric
from shared.db import Db

INSERT = sa.text("""
    insert into experiments.metric
           (id, key, version, kind, window_days, currency, margin, value_property, definition, created_at)
    select :id, :key, coalesce(max(m.version), 0) + 1, :kind, :window_days, :currency, cast(:margin as numeric),
           :value_property, cast(:definition as jsonb), :now
      from experiments.metric as m
     where m.key = :key
""")
INSERT_EVENT = sa.text("""
    insert into experiments.metric_event (metric_id, position, kind, sign, condition)
    values (:metric_id, :position, :kind, :sign, cast(:condition as jsonpath))
""")
COLUMNS = "m.id, m.key, m.version, m.definition, m.created_at"
NEWEST = sa.text(f"""
    select distinct on (m.key) {COLUMNS}
      from experiments.metric as m
     where m.key = any(:keys)
     order by m.key, m.version desc
""")
LIST = sa.text(f"""
    select distinct on (m.key) {COLUMNS}
      from experiments.metric as m
     where m.key > :after
     order by m.key, m.version desc
     limit :limit
""")
VERSIONS = sa.text(f"""
    select {COLUMNS}
      from experiments.metric as m
     where m.key = :key
     order by m.version desc
""")
BY_ID = sa.text(f"select {COLUMNS} from experiments.metric as m where m.id = any(:ids)")
CLAIM = sa.text("select pg_advisory_xact_lock(hashtextextended(:key, 0))")


def insert(db: Db, row: dict[str, object], events: Sequence[dict[str, object]], now: datetime) -> None:
    """Store the next version of a metric; two at once come one after the other."""
    db.execute(INSERT, {**row, "now": now})
    db.execute(INSERT_EVENT, [{**event, "metric_id": row["id"]} for event in events])


def claim(db: Db, key: str) -> None:
    """Wait for whoever else is writing a metric of this key."""
    db.execute(CLAIM, {"key": f"metric {key}"})


def newest(db: Db, keys: Sequence[str]) -> dict[str, Metric]:
    """The newest version of each key that exists."""
    return {row.key: _metric(row) for row in db.execute(NEWEST, {"keys": list(keys)})}


def listed(db: Db, after: str, limit: int) -> list[Metric]:
    """The newest version of each metric, by key."""
    return [_metric(row) for row in db.execute(LIST, {"after": after, "limit": limit})]


def versions(db: Db, key: str) -> list[Metric]:
    """All versions, the newest first."""
    return [_metric(row) for row in db.execute(VERSIONS, {"key": key})]


def by_id(db: Db, ids: Sequence[UUID]) -> dict[UUID, Metric]:
    """Metrics by the id of their version."""
    return {row.id: _metric(row) for row in db.execute(BY_ID, {"ids": list(ids)})}


def _metric(row: sa.Row[tuple[object, ...]]) -> Metric:
    stored = {"id": row.id, "version": row.version, "created_at": row.created_at}
    return Metric.model_validate({**row.definition, **stored})
