"""SQL of the kinds of event that the installation declares."""

from datetime import datetime

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select

from services.feedback.tables import KindRow
from shared.contracts.kinds import KindRule
from shared.db import Db


def declared(db: Db) -> list[KindRule]:
    """The declared kinds, by name."""
    return [KindRule.model_validate(row.rule) for row in db.exec(select(KindRow).order_by(col(KindRow.name)))]


def declare(db: Db, rule: KindRule, now: datetime) -> None:
    """Declare a kind, or replace what was declared of it."""
    row = {"rule": rule.model_dump(mode="json"), "declared_at": now}
    query = insert(KindRow).values(name=rule.name, **row)
    db.execute(query.on_conflict_do_update(index_elements=["name"], set_=row))
