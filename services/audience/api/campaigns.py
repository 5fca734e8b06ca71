"""Campaigns over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Body

from services.audience.actions import campaigns as actions
from services.audience.api.common import Reference
from services.audience.queries import campaigns as queries
from shared.auth import requires
from shared.bodies import StrictRoute
from shared.contracts.targeting import Campaign, NewCampaign
from shared.db import ReadTx, Tx
from shared.idempotency import Once
from shared.pages import Page, Paged

router = APIRouter(
    prefix="/v1/campaigns", tags=["campaigns"], route_class=StrictRoute, dependencies=[requires("audience:read")]
)

EXAMPLE = {"key": "spring-sale", "name": "Spring sale", "channel": "email", "purpose": "marketing"}


@router.post("", status_code=201, dependencies=[requires("audience:write")])
def create_campaign(
    new: Annotated[NewCampaign, Body(openapi_examples={"example": {"value": EXAMPLE}})], db: Tx, once: Once
) -> Campaign:
    """Create a campaign: what lists, experiments and events refer to."""
    return once(db, new, effect=lambda: actions.create(db, new), answer=Campaign)


@router.get("")
def list_campaigns(db: ReadTx, page: Paged) -> Page[Campaign]:
    """All campaigns, by key."""
    return page.answer(queries.campaigns(db, page), lambda campaign: [campaign.key])


@router.get("/{reference}")
def get_campaign(reference: Reference, db: ReadTx) -> Campaign:
    """One campaign, by key or id."""
    return queries.campaign(db, reference)
