"""Target lists over HTTP: freeze, show, stream, compare, release."""

import json
from collections.abc import Iterator
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body, Query, Request, Response

from services.audience.actions import lists as actions
from services.audience.api.common import BeginReading, CustomerPath, SettingsOf, wants
from services.audience.queries import lists as queries
from shared.auth import requires
from shared.bodies import StrictRoute, csv_answer, ndjson_answer
from shared.contracts.base import Name
from shared.contracts.targeting import ListDifference, ListMember, NewTargetList, TargetList
from shared.db import ReadTx, Tx
from shared.idempotency import Once
from shared.pages import Page, Paged

READ, WRITE = requires("audience:read"), requires("audience:write")
router = APIRouter(prefix="/v1/target-lists", tags=["target lists"], route_class=StrictRoute, dependencies=[READ])

EXAMPLE = {
    "name": "spring sale, wave 1",
    "segment_id": "jacket-fans",
    "campaign": "spring-sale",
    "rank_by": {"trait": "monetary"},
    "limit": 10000,
    "holdout_share": 0.05,
    "max_contacts": {"count": 3, "days": 7},
}
STREAMED = 5000
CSV_HEADER = ("customer_id", "rank", "stratum", "held_out", "probability", "features")
MEMBERS: dict[int | str, dict[str, Any]] = {
    200: {"model": Page[ListMember], "content": {"application/x-ndjson": {}, "text/csv": {}}}
}


@router.post("", status_code=201, dependencies=[WRITE])
def create_target_list(
    new: Annotated[NewTargetList, Body(openapi_examples={"example": {"value": EXAMPLE}})],
    db: Tx,
    once: Once,
    settings: SettingsOf,
) -> TargetList:
    """Freeze a list: a segment's members, screened, ranked, limited, with a holdout drawn. Or say what it would be.

    The funnel tells how many customers each step took away. Names are unique: two builds of one name at once give one
    list; the other gets 409, or with the same `Idempotency-Key` the same answer. A list of nobody is refused (422).
    """
    return once(db, new, effect=lambda: actions.build(db, new, settings), answer=TargetList)


@router.get("")
def list_target_lists(db: ReadTx, page: Paged, name: Annotated[Name | None, Query()] = None) -> Page[TargetList]:
    """All target lists, newest first."""
    found = queries.target_lists(db, page, name, actions.now())
    return page.answer(found, lambda one: [one.built_at.isoformat(), str(one.id)])


@router.get("/{list_id}")
def get_target_list(list_id: UUID, db: ReadTx) -> TargetList:
    """One target list, with its funnel and digest."""
    return queries.target_list(db, list_id, actions.now())


@router.post("/{list_id}/release", dependencies=[WRITE])
def release_target_list(list_id: UUID, db: Tx) -> TargetList:
    """Hand a list over to sending. An expired list is refused (409)."""
    return actions.release(db, list_id)


@router.get("/{list_id}/members", response_model=None, responses=MEMBERS)
def list_members(
    list_id: UUID,
    request: Request,
    begin: BeginReading,
    page: Paged,
    held_out: Annotated[bool | None, Query(description="Only members held out, or only those who are not")] = None,
) -> Response | Page[ListMember]:
    """The members by rank: a page of JSON, or with `Accept: application/x-ndjson` or `text/csv` all, streamed."""
    with begin() as db:
        queries.target_list(db, list_id, actions.now())
    kind = wants(request)
    if kind == "ndjson":
        return ndjson_answer(_all_members(begin, list_id, held_out))
    if kind == "csv":
        return csv_answer(CSV_HEADER, (_cells(member) for member in _all_members(begin, list_id, held_out)))
    after = int(page.after[0]) if page.after else 0
    with begin() as db:
        found = queries.members(db, list_id, after, page.limit + 1, held_out)
    return page.answer(found, lambda member: [str(member.rank)])


def _all_members(begin: BeginReading, list_id: UUID, held_out: bool | None) -> Iterator[ListMember]:
    """Page by page in short transactions: the rows never change, so the whole is one state."""
    after = 0
    while True:
        with begin() as db:
            found = queries.members(db, list_id, after, STREAMED, held_out)
        yield from found
        if len(found) < STREAMED:
            return
        after = found[-1].rank


def _cells(member: ListMember) -> list[object]:
    features = json.dumps(member.features, ensure_ascii=False)
    held_out = str(member.held_out).lower()
    return [member.customer_id, member.rank, member.stratum, held_out, member.probability, features]


@router.get("/{list_id}/members/{customer_id:any_id}")
def get_member(list_id: UUID, customer_id: CustomerPath, db: ReadTx) -> ListMember:
    """Whether and how a customer is on the list."""
    return queries.member(db, list_id, customer_id)


@router.get("/{list_id}/diff")
def compare_target_lists(list_id: UUID, against: Annotated[UUID, Query()], db: ReadTx, page: Paged) -> ListDifference:
    """What changed from the list `against` to this one: counts, and who, by id."""
    queries.target_list(db, list_id, actions.now())
    queries.target_list(db, against, actions.now())
    found = page.answer(queries.changes(db, list_id, against, page), lambda change: [change.customer_id])
    counted = queries.difference(db, list_id, against)
    return ListDifference(**counted._asdict(), items=found.items, next_cursor=found.next_cursor)
