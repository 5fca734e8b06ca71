"""SQL of the kinds of event that the installation declares."""

from datetime import datetime

import sqlalchemy as sa

from shared.contracts.feedback import KindRule
from shared.db import Db

ALL = sa.text("select k.rule from feedback.kind as k order by k.name")
DECLARE = sa.text("""
    insert into feedback.kind (name, rule, declared_at)
    values (:name, cast(:rule as jsonb), :now)
        on conflict (name) do update set rule = excluded.rule, declared_at = excluded.declared_at
""")


def declared(db: Db) -> list[KindRule]:
    """The declared kinds, by name."""
    return [KindRule.model_validate(row.rule) for row in db.execute(ALL)]


def declare(db: Db, rule: KindRule, now: datetime) -> None:
    """Declare a kind, or replace what was declared of it."""
    db.execute(DECLARE, {"name": rule.name, "rule": rule.model_dump_json(), "now": now})
