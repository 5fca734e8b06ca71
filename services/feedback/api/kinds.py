"""Kinds of event over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Body, Path

from services.feedback.actions import kinds as actions
from services.feedback.api.events import IntakeOf
from shared.auth import requires
from shared.bodies import StrictRoute
from shared.contracts.feedback import Kind
from shared.contracts.kinds import KindRule, NewKind
from shared.db import ReadTx
from shared.pages import Page, Paged

router = APIRouter(
    prefix="/v1/kinds", tags=["kinds"], route_class=StrictRoute, dependencies=[requires("feedback:read")]
)
EXAMPLE = {
    "description": "A stay in one of our houses; value is what it came to.",
    "properties": {"house": {"type": "text", "required": True}, "nights": {"type": "number", "above": 0}},
    "required": ["value"],
}
NewBody = Annotated[NewKind, Body(openapi_examples={"stay": {"value": EXAMPLE}})]
Named = Annotated[Kind, Path(description="The kind's name")]


@router.get("")
def list_kinds(db: ReadTx, page: Paged) -> Page[KindRule]:
    """All kinds of event, by name: those every installation knows and those this one declared."""
    return page.answer(actions.kinds_after(db, page), lambda rule: [rule.name])


@router.get("/{name}")
def get_kind(name: Named, db: ReadTx) -> KindRule:
    """What events of a kind need and hold."""
    return actions.kind(db, name)


@router.put("/{name}", dependencies=[requires("feedback:write")])
def declare_kind(name: Named, new: NewBody, intake: IntakeOf) -> KindRule:
    """Declare a kind of event, or change what was declared of it. Events of kinds that nobody declared are refused."""
    return intake.kinds.declare(name, new)
