"""Campaigns."""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from shared.contracts.targeting import Campaign, NewCampaign
from shared.db import Db
from shared.errors import NotFound
from shared.pages import PageRequest

COLUMNS = """c.id, c.key, c.name, c.brand, c.channel, c.purpose, c.budget, c.currency, c.send_at, c.owner,
           c.created_at"""
INSERT = sa.text("""
    insert into audience.campaign
           (id, key, name, brand, channel, purpose, budget, currency, send_at, owner, created_at)
    values (:id, :key, :name, :brand, :channel, :purpose, :budget, :currency, :send_at, :owner, :now)
        on conflict (key) do nothing
 returning id
""")
ONE = sa.text(f"select {COLUMNS} from audience.campaign as c where c.key = :name or cast(c.id as text) = :name")  # noqa: S608
PAGE = sa.text(f"""
    select {COLUMNS}
      from audience.campaign as c
     where cast(:after as text) is null or c.key > :after
     order by c.key
     limit :limit
""")  # noqa: S608


def insert(db: Db, campaign_id: UUID, new: NewCampaign, now: datetime) -> bool:
    """False when the key is taken."""
    row = {"id": campaign_id, "now": now, **new.model_dump(exclude={"purpose"}), "purpose": new.purpose.value}
    return db.execute(INSERT, row).one_or_none() is not None


def campaign(db: Db, name: str) -> Campaign:
    """By key or id. Raises `NotFound`."""
    row = db.execute(ONE, {"name": name}).one_or_none()
    if row is None:
        raise NotFound("There is no such campaign.")
    return Campaign.model_validate(dict(row._mapping))


def campaigns(db: Db, page: PageRequest) -> list[Campaign]:
    """By key, one more than the page holds."""
    after = page.after[0] if page.after else None
    rows = db.execute(PAGE, {"after": after, "limit": page.limit + 1})
    return [Campaign.model_validate(dict(row._mapping)) for row in rows]
