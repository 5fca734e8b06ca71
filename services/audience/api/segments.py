"""Segments over HTTP: make, revise, try, list, explain, compare; and the cut-offs that their clauses name."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request, Response

from services.audience.actions import segments as actions
from services.audience.api.common import BeginReading, CustomerPath, Reference, wants
from services.audience.queries import cutoffs as cutoff_queries
from services.audience.queries import segments as queries
from shared.auth import requires
from shared.bodies import StrictRoute, csv_answer, ndjson_answer
from shared.contracts.base import Instant
from shared.contracts.segments import (
    Cutoff,
    Explanation,
    Member,
    NewCutoff,
    NewSegment,
    Overlap,
    Preview,
    PreviewRequest,
    Revision,
    Segment,
    SegmentVersion,
)
from shared.db import ReadTx, Tx
from shared.idempotency import Once
from shared.pages import Page, Paged

READ, WRITE = requires("audience:read"), requires("audience:write")
router = APIRouter(prefix="/v1", tags=["segments"], route_class=StrictRoute, dependencies=[READ])

DEFINITION: dict[str, Any] = {
    "all": [
        {"attribute": "age", "is": "between", "value": [25, 40]},
        {
            "event": "order",
            "where": {"category": {"is": "eq", "value": "jackets"}},
            "measure": "count",
            "is": "gte",
            "value": 2,
            "within_days": 30,
        },
        {"not": {"consent": "email", "purpose": "marketing", "state": ["denied", "withdrawn"]}},
    ]
}
NEW = {"key": "jacket-fans", "name": "Jacket fans", "definition": DEFINITION}
REVISION = {"definition": DEFINITION, "note": "two jackets instead of one", "based_on": 1}
CUTOFF = {"trait": "monetary", "name": "top20", "top_share": 0.2}
MEMBERS: dict[int | str, dict[str, Any]] = {
    200: {"model": Page[Member], "content": {"application/x-ndjson": {}, "text/csv": {}}}
}

AsOf = Annotated[Instant | None, Query(description="The moment of evaluation; now, unless it is given")]


@router.post("/segments", status_code=201, dependencies=[WRITE])
def create_segment(
    new: Annotated[NewSegment, Body(openapi_examples={"example": {"value": NEW}})], db: Tx, once: Once
) -> Segment:
    """Make a segment: a rule that says who is meant. What it names must exist and what it compares must fit."""
    return once(db, new, effect=lambda: actions.create(db, new), answer=Segment)


@router.get("/segments")
def list_segments(db: ReadTx, page: Paged) -> Page[Segment]:
    """All segments, in the order of their making."""
    return page.answer(queries.page(db, page), lambda one: [one.created_at.isoformat(), str(one.id)])


@router.post("/segments:preview")
def preview_segment(
    request: Annotated[PreviewRequest, Body(openapi_examples={"example": {"value": {"definition": DEFINITION}}})],
    db: ReadTx,
) -> Preview:
    """Whom a definition would mean, in all and clause by clause; nothing is stored.

    Each count says how many of all customers satisfy that clause by itself. Counting that takes longer than
    `timeout_ms` is given up, and the answer (422) points at the slowest clause.
    """
    return actions.preview(db, request)


@router.get("/segments/{reference}")
def get_segment(reference: Reference, db: ReadTx) -> Segment:
    """One segment, by key or id, in the version that is in force."""
    return queries.find(db, reference)


@router.put("/segments/{reference}", dependencies=[WRITE])
def revise_segment(
    reference: Reference,
    revision: Annotated[Revision, Body(openapi_examples={"example": {"value": REVISION}})],
    db: Tx,
    once: Once,
) -> Segment:
    """Put a new version in force; old ones stay. The definition in force already changes the name at most."""
    return once(db, revision, effect=lambda: actions.revise(db, reference, revision), answer=Segment)


@router.get("/segments/{reference}/versions")
def list_versions(reference: Reference, db: ReadTx, page: Paged) -> Page[SegmentVersion]:
    """What the segment said over time, the newest first."""
    found = queries.versions(db, queries.find(db, reference).id, page)
    return page.answer(found, lambda one: [str(one.version)])


@router.get("/segments/{reference}/members", response_model=None, responses=MEMBERS)
def list_members(
    reference: Reference, request: Request, begin: BeginReading, page: Paged, as_of: AsOf = None
) -> Response | Page[Member]:
    """The members by id: a page of JSON, or with `Accept: application/x-ndjson` or `text/csv` all, streamed."""
    moment = as_of or datetime.now(UTC)
    kind = wants(request)
    if kind == "json":
        after = page.after[0] if page.after else None
        with begin() as db:
            found = actions.members(db, reference, moment, after, page.limit + 1)
        return page.answer(found, lambda member: [member.customer_id])
    everyone = actions.all_members(begin, reference, moment)
    if kind == "csv":
        return csv_answer(("customer_id",), ((member.customer_id,) for member in everyone))
    return ndjson_answer(everyone)


@router.get("/segments/{reference}/explain/{customer_id:any_id}")
def explain_membership(reference: Reference, customer_id: CustomerPath, db: ReadTx, as_of: AsOf = None) -> Explanation:
    """Why a customer is, or is not, in the segment: a verdict on every clause with what was found."""
    return actions.explain(db, reference, customer_id, as_of or datetime.now(UTC))


@router.get("/segments/{reference}/overlap")
def compare_segments(
    reference: Reference,
    db: ReadTx,
    others: Annotated[str, Query(alias="with", max_length=2000, description="Keys or ids, separated by commas")],
    as_of: AsOf = None,
) -> Overlap:
    """How many customers other segments share with this one."""
    named = [one.strip() for one in others.split(",") if one.strip()]
    return actions.overlap(db, reference, named, as_of or datetime.now(UTC))


@router.post("/cutoffs", status_code=201, dependencies=[WRITE])
def store_cutoff(
    new: Annotated[NewCutoff, Body(openapi_examples={"example": {"value": CUTOFF}})], db: Tx, once: Once
) -> Cutoff:
    """Store what the top share of customers reach in a trait now, for clauses such as `"cutoff": "monetary:top20"`."""
    return once(db, new, effect=lambda: actions.store_cutoff(db, new), answer=Cutoff)


@router.get("/cutoffs")
def list_cutoffs(db: ReadTx, page: Paged) -> Page[Cutoff]:
    """All cut-offs that were stored, the newest first."""
    return page.answer(cutoff_queries.page(db, page), lambda one: [one.at.isoformat(), one.trait, one.name])
