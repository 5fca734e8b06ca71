"""The attribute catalogue over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Body, Path

from services.audience.actions import attributes as actions
from services.audience.api.common import Begin
from services.audience.queries import attributes as queries
from shared.auth import requires
from shared.bodies import StrictRoute
from shared.contracts.audience import AttributeDefinition, AttributeDetail, AttributeName, NewAttribute
from shared.db import ReadTx
from shared.pages import Page, Paged

router = APIRouter(
    prefix="/v1/attributes", tags=["attributes"], route_class=StrictRoute, dependencies=[requires("audience:read")]
)

Name = Annotated[AttributeName, Path()]
EXAMPLE = {
    "type": "number",
    "unit": "years",
    "allowed": {"minimum": 0, "maximum": 120},
    "supplement": {"method": "median"},
}
NewBody = Annotated[NewAttribute, Body(openapi_examples={"example": {"value": EXAMPLE}})]


@router.get("")
def list_attributes(db: ReadTx, page: Paged) -> Page[AttributeDefinition]:
    """The catalogue: all that a customer may be said to have, by name."""
    return page.answer(queries.page(db, page), lambda attribute: [attribute.name])


@router.get("/{name}")
def get_attribute(name: Name, db: ReadTx) -> AttributeDetail:
    """One attribute, and how many customers have a value of it."""
    return queries.detail(db, name)


@router.put("/{name}", dependencies=[requires("audience:write")])
def put_attribute(name: Name, new: NewBody, begin: Begin) -> AttributeDetail:
    """Declare an attribute, or replace its definition: what the body leaves out, such as bounds, is dropped.

    Its type stays while customers have values, told or filled (409). Names of a file's own columns are refused.
    A new way of filling gaps reaches all customers by a job.
    """
    return actions.declare(begin, name, new)
