"""Campaigns."""

from datetime import UTC, datetime

from services.audience.queries import campaigns as queries
from shared.contracts.targeting import Campaign, NewCampaign
from shared.db import Db, new_id
from shared.errors import Conflict


class KeyTaken(Conflict):
    """Keys are unique and never change."""

    code = "campaign-key-taken"


def create(db: Db, new: NewCampaign) -> Campaign:
    """Raises `KeyTaken`."""
    if not queries.insert(db, new_id(), new, datetime.now(UTC)):
        raise KeyTaken(f"There is a campaign {new.key} already.")
    return queries.campaign(db, new.key)
