"""Target lists as they are kept: once frozen, only their release is added."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as insert_into
from sqlmodel import col, select

from services.audience.permission import Scope
from services.audience.queries.parameters import with_json
from services.audience.tables import TargetListRow
from shared.contracts.base import JsonValue
from shared.contracts.targeting import FunnelStep, ListMember, ListState, MemberChange, NewTargetList, TargetList
from shared.db import Db, waiting_for_others
from shared.errors import NotFound
from shared.pages import PageRequest

COMPLETE = with_json(
    sa.text("""
    update audience.target_list as l
       set count = :count, held_out = :held_out, digest = :digest, funnel = :funnel, known_at = :known_at
     where l.id = :id
"""),
    "funnel",
)
RELEASE = sa.text("""
    update audience.target_list as l
       set released_at = :now
     where l.id = :id and l.released_at is null and l.expires_at > :now
""")
MEMBER = "m.customer_id, m.rank, m.stratum, m.held_out, m.probability, m.features"
ONE_MEMBER = sa.text(f"""
    select {MEMBER} from audience.list_member as m where m.list_id = :list and m.customer_id = :customer
""")  # noqa: S608
MEMBERS = sa.text(f"""
    select {MEMBER}
      from audience.list_member as m
     where m.list_id = :list and m.rank > :after and (cast(:held_out as boolean) is null or m.held_out = :held_out)
     order by m.rank
     limit :limit
""")  # noqa: S608
MEMBERSHIP = sa.text("""
    select m.customer_id, m.held_out
      from audience.list_member as m
     where m.list_id = :list and m.customer_id = any(cast(:customers as text[]))
""")
BOTH = """select coalesce(a.customer_id, b.customer_id) as customer_id,
                 b.customer_id is null as added, a.customer_id is null as removed
            from (select m.customer_id from audience.list_member as m where m.list_id = :list) as a
            full join (select m.customer_id from audience.list_member as m where m.list_id = :other) as b
              on b.customer_id = a.customer_id"""
DIFFERENCE = sa.text(f"""
    select count(*) filter (where x.added) as added, count(*) filter (where x.removed) as removed,
           count(*) filter (where not x.added and not x.removed) as kept
      from ({BOTH}) as x
""")  # noqa: S608
CHANGES = sa.text(f"""
    select x.customer_id, case when x.added then 'added' else 'removed' end as change
      from ({BOTH}) as x
     where (x.added or x.removed) and (cast(:after as text) is null or x.customer_id > :after)
     order by x.customer_id
     limit :limit
""")  # noqa: S608


AS_ASKED = {"name", "campaign", "rank_by", "limit", "strata", "holdout_share", "max_contacts"}
"""What a list keeps as its request said it."""


class Claim(NamedTuple):
    """What is known of a list before its members are: everything that decides them."""

    id: UUID
    new: NewTargetList
    scope: Scope
    segment_id: UUID
    segment_key: str
    segment_version: int
    definition: JsonValue
    global_control_share: float
    seed: str
    as_of: datetime
    built_at: datetime
    expires_at: datetime


class Difference(NamedTuple):
    added: int
    removed: int
    kept: int


def claim(db: Db, claimed: Claim) -> bool:
    """Take the list's name; a build of the same name that is under way is waited for. False when it is taken.

    Raises `Busy` when too many wait already.
    """
    row = {**claimed._asdict(), **claimed.scope._asdict(), **claimed.new.model_dump(mode="json", include=AS_ASKED)}
    del row["new"], row["scope"]
    row["member_limit"] = row.pop("limit")
    statement = insert_into(TargetListRow).values(row).on_conflict_do_nothing(index_elements=["name"])
    with waiting_for_others(db):
        return db.execute(statement.returning(col(TargetListRow.id))).one_or_none() is not None


def complete(db: Db, list_id: UUID, funnel: list[FunnelStep], held_out: int, digest: str, known_at: datetime) -> None:
    row = {"id": list_id, "count": funnel[-1].count, "held_out": held_out, "digest": digest, "known_at": known_at}
    db.execute(COMPLETE, {**row, "funnel": [step.model_dump() for step in funnel]})


def target_list(db: Db, list_id: UUID, now: datetime) -> TargetList:
    """Raises `NotFound`."""
    query = select(TargetListRow).where(TargetListRow.id == list_id)
    row = db.exec(query.execution_options(populate_existing=True)).one_or_none()
    if row is None:
        raise NotFound(f"There is no target list {list_id}.")
    return _message(row, now)


def target_lists(db: Db, page: PageRequest, name: str | None, now: datetime) -> list[TargetList]:
    """Newest first, one more than the page holds."""
    at, own = col(TargetListRow.built_at), col(TargetListRow.id)
    query = select(TargetListRow).order_by(at.desc(), own.desc()).limit(page.limit + 1)
    if name is not None:
        query = query.where(TargetListRow.name == name)
    if page.after:
        query = query.where(sa.tuple_(at, own) < (datetime.fromisoformat(page.after[0]), UUID(page.after[1])))
    return [_message(row, now) for row in db.exec(query)]


def _message(row: TargetListRow, now: datetime) -> TargetList:
    built = ListState.RELEASED if row.released_at else ListState.BUILT
    state = ListState.EXPIRED if row.expires_at <= now else built
    told = row.model_dump(exclude={"definition", "member_limit"})
    return TargetList.model_validate({**told, "limit": row.member_limit, "state": state})


def release(db: Db, list_id: UUID, now: datetime) -> None:
    """Note the release of a list that is neither released nor expired."""
    db.execute(RELEASE, {"id": list_id, "now": now})


def member(db: Db, list_id: UUID, customer_id: str) -> ListMember:
    """Raises `NotFound`."""
    row = db.execute(ONE_MEMBER, {"list": list_id, "customer": customer_id}).one_or_none()
    if row is None:
        raise NotFound("This customer is not on the list.")
    return ListMember.model_validate(dict(row._mapping))


def members(db: Db, list_id: UUID, after: int, limit: int, held_out: bool | None) -> list[ListMember]:
    """Members by rank, after the rank `after`."""
    asked = {"list": list_id, "after": after, "limit": limit, "held_out": held_out}
    return [ListMember.model_validate(dict(row._mapping)) for row in db.execute(MEMBERS, asked)]


def membership(db: Db, list_id: UUID, customers: list[str]) -> dict[str, bool]:
    """Those of `customers` who are on the list, and whether they are held out."""
    return {row.customer_id: row.held_out for row in db.execute(MEMBERSHIP, {"list": list_id, "customers": customers})}


def difference(db: Db, list_id: UUID, other: UUID) -> Difference:
    return Difference(*db.execute(DIFFERENCE, {"list": list_id, "other": other}).one())


def changes(db: Db, list_id: UUID, other: UUID, page: PageRequest) -> list[MemberChange]:
    """Who is on only one of two lists, by id, one more than the page holds."""
    after = page.after[0] if page.after else None
    asked = {"list": list_id, "other": other, "after": after, "limit": page.limit + 1}
    return [MemberChange.model_validate(dict(row._mapping)) for row in db.execute(CHANGES, asked)]
