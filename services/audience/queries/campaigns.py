"""Campaigns."""

from datetime import datetime
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert as insert_into
from sqlmodel import col, or_, select

from services.audience.tables import CampaignRow
from shared.contracts.base import as_id
from shared.contracts.targeting import Campaign, NewCampaign
from shared.db import Db
from shared.errors import NotFound
from shared.pages import PageRequest


def insert(db: Db, campaign_id: UUID, new: NewCampaign, now: datetime) -> bool:
    """False when the key is taken."""
    row = {"id": campaign_id, "created_at": now, **new.model_dump()}
    statement = insert_into(CampaignRow).values(row).on_conflict_do_nothing(index_elements=["key"])
    return db.execute(statement.returning(col(CampaignRow.id))).one_or_none() is not None


def campaign(db: Db, reference: str) -> Campaign:
    """By key or id. Raises `NotFound`."""
    by_id = col(CampaignRow.id) == as_id(reference)
    query = select(CampaignRow).where(or_(CampaignRow.key == reference, by_id)).order_by(by_id.desc()).limit(1)
    row = db.exec(query).one_or_none()
    if row is None:
        raise NotFound("There is no such campaign.")
    return Campaign.model_validate(row.model_dump())


def campaigns(db: Db, page: PageRequest) -> list[Campaign]:
    """By key, one more than the page holds."""
    query = select(CampaignRow).order_by(col(CampaignRow.key)).limit(page.limit + 1)
    if page.after:
        query = query.where(CampaignRow.key > page.after[0])
    return [Campaign.model_validate(row.model_dump()) for row in db.exec(query)]
