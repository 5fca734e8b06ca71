"""SQL about metrics."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on
from sqlmodel import col, select
from sqlmodel.sql.expression import SelectOfScalar

from services.experiments.declared import Kinds
from services.experiments.tables import MetricRow
from shared.contracts.base import as_id
from shared.contracts.kinds import WELL_KNOWN
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
DECLARED = sa.text("select k.name, k.properties from published.feedback_kinds as k")
CLAIM = sa.text("select pg_advisory_xact_lock(hashtextextended(:key, 0))")


def insert(db: Db, row: dict[str, object], events: Sequence[dict[str, object]], now: datetime) -> None:
    """Store the next version of a metric; two at once come one after the other."""
    db.execute(INSERT, {**row, "now": now})
    db.execute(INSERT_EVENT, [{**event, "metric_id": row["id"]} for event in events])


def claim(db: Db, key: str) -> None:
    """Wait for whoever else is writing a metric of this key."""
    db.execute(CLAIM, {"key": f"metric {key}"})


def kinds(db: Db) -> Kinds:
    """The kinds of event that there are, well known or declared, and the types of their properties."""
    known = {name: {each: one.type for each, one in rule.properties.items()} for name, rule in WELL_KNOWN.items()}
    declared = {row.name: {name: one["type"] for name, one in row.properties.items()} for row in db.execute(DECLARED)}
    return {**known, **declared}


def newest(db: Db, keys: Sequence[str]) -> dict[str, Metric]:
    """The newest version of each key that exists."""
    return {row.key: metric_of(row) for row in db.exec(_newest().where(col(MetricRow.key).in_(keys)))}


def named(db: Db, references: Sequence[str]) -> dict[str, Metric]:
    """The newest version of each metric that a reference names: its key, or the id of any of its versions."""
    ids = [number for each in references if (number := as_id(each)) is not None]
    by_id = {row.id: row.key for row in db.exec(select(MetricRow).where(col(MetricRow.id).in_(ids)))}
    keys = {each: by_id.get(number, each) if (number := as_id(each)) else each for each in references}
    known = newest(db, list(keys.values()))
    return {each: known[key] for each, key in keys.items() if key in known}


def of_id(db: Db, number: UUID) -> Metric | None:
    """The version that has this id."""
    row = db.get(MetricRow, number)
    return None if row is None else metric_of(row)


def listed(db: Db, after: str, limit: int) -> list[Metric]:
    """The newest version of each metric, by key."""
    return [metric_of(row) for row in db.exec(_newest().where(col(MetricRow.key) > after).limit(limit))]


def versions(db: Db, key: str) -> list[Metric]:
    """All versions, the newest first."""
    found = select(MetricRow).where(MetricRow.key == key).order_by(col(MetricRow.version).desc())
    return [metric_of(row) for row in db.exec(found)]


def _newest() -> SelectOfScalar[MetricRow]:
    key, version = col(MetricRow.key), col(MetricRow.version)
    return select(MetricRow).ext(distinct_on(key)).order_by(key, version.desc())


def metric_of(row: MetricRow) -> Metric:
    """The message of a stored version."""
    return Metric.model_validate({**row.definition, "id": row.id, "version": row.version, "created_at": row.created_at})
