"""Do-not-contact entries."""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import col, select

from services.audience.permission import EVERY
from services.audience.tables import SuppressionRow
from shared.contracts.permissions import Lift, NewSuppression, Suppression
from shared.db import Db
from shared.errors import NotFound
from shared.pages import PageRequest


def insert(db: Db, suppression_id: UUID, new: NewSuppression, now: datetime) -> Suppression:
    row = {**new.model_dump(), "channel": new.channel or EVERY, "id": suppression_id, "created_at": now}
    db.execute(sa.insert(SuppressionRow).values(row))
    return Suppression(id=suppression_id, created_at=now, **new.model_dump())


def suppressions(db: Db, page: PageRequest, customer_id: str | None) -> list[Suppression]:
    """Newest first, one more than the page holds."""
    at, own = col(SuppressionRow.created_at), col(SuppressionRow.id)
    query = select(SuppressionRow).order_by(at.desc(), own.desc()).limit(page.limit + 1)
    if customer_id is not None:
        query = query.where(SuppressionRow.customer_id == customer_id)
    if page.after:
        query = query.where(sa.tuple_(at, own) < (datetime.fromisoformat(page.after[0]), UUID(page.after[1])))
    return [_message(row) for row in db.exec(query)]


def lift(db: Db, suppression_id: UUID, lift: Lift, by: str, now: datetime) -> Suppression:
    """Put an entry out of force; one that was lifted before stays as it is. Raises `NotFound`."""
    mine = col(SuppressionRow.id) == suppression_id
    values = {"lifted_at": now, "lifted_by": by, "lift_reason": lift.reason}
    db.execute(sa.update(SuppressionRow).where(mine, col(SuppressionRow.lifted_at).is_(None)).values(values))
    row = db.exec(select(SuppressionRow).where(mine)).one_or_none()
    if row is None:
        raise NotFound("There is no such suppression.")
    return _message(row)


def _message(row: SuppressionRow) -> Suppression:
    channel = None if row.channel == EVERY else row.channel
    known = row.model_dump(exclude={"lifted_at", "lifted_by", "lift_reason"})
    lifted = None
    if row.lifted_at is not None:
        lifted = {"at": row.lifted_at, "by": row.lifted_by, "reason": row.lift_reason}
    return Suppression.model_validate({**known, "channel": channel, "lifted": lifted})
