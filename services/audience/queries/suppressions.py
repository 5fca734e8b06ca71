"""Do-not-contact entries."""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import col, select

from services.audience.permission import EVERY
from services.audience.tables import SuppressionRow
from shared.contracts.permissions import NewSuppression, Suppression
from shared.db import Db
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


def _message(row: SuppressionRow) -> Suppression:
    channel = None if row.channel == EVERY else row.channel
    return Suppression.model_validate({**row.model_dump(), "channel": channel})
