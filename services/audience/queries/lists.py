"""Target lists as they are kept: once frozen, only their release is added."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa

from services.audience.permission import Scope
from services.audience.queries.parameters import with_json
from shared.contracts.base import JsonValue
from shared.contracts.targeting import FunnelStep, ListMember, MemberChange, NewTargetList, TargetList
from shared.db import Db
from shared.errors import NotFound
from shared.pages import PageRequest

CLAIM = with_json(
    sa.text("""
    insert into audience.target_list
           (id, name, campaign, segment_id, segment_key, segment_version, definition, brand, channel, purpose, rank_by,
            member_limit, strata, holdout_share, max_contacts, global_control_share, seed, as_of, built_at, expires_at)
    values (:id, :name, :campaign, :segment_id, :segment_key, :segment_version, :definition, :brand, :channel, :purpose,
            :rank_by, :limit, :strata, :holdout_share, :max_contacts, :global_control_share, :seed, :as_of, :built_at,
            :expires_at)
        on conflict (name) do nothing
 returning id
"""),
    "definition",
    "rank_by",
    "strata",
    "max_contacts",
)
COMPLETE = with_json(
    sa.text("""
    update audience.target_list as l
       set count = :count, held_out = :held_out, digest = :digest, funnel = :funnel, known_at = :known_at
     where l.id = :id
"""),
    "funnel",
)
COLUMNS = """l.id, l.name, l.campaign, l.segment_id, l.segment_key, l.segment_version, l.brand, l.channel, l.purpose,
           l.rank_by, l.member_limit as "limit", l.strata, l.holdout_share, l.max_contacts, l.global_control_share,
           l.seed, l.as_of, l.known_at, l.count, l.held_out, l.digest, l.funnel, l.built_at, l.released_at,
           l.expires_at,
           case when l.expires_at <= :now then 'expired' when l.released_at is not null then 'released'
                else 'built' end as state"""
ONE = sa.text(f"select {COLUMNS} from audience.target_list as l where l.id = :id")  # noqa: S608
PAGE = sa.text(f"""
    select {COLUMNS}
      from audience.target_list as l
     where (cast(:name as text) is null or l.name = :name)
       and (cast(:at as timestamptz) is null or (l.built_at, l.id) < (cast(:at as timestamptz), cast(:id as uuid)))
     order by l.built_at desc, l.id desc
     limit :limit
""")  # noqa: S608
RELEASE = sa.text("""
    update audience.target_list as l
       set released_at = :now
     where l.id = :id and l.released_at is null and l.expires_at > :now
""")
MEMBER = "m.customer_id, m.rank, m.stratum, m.held_out, m.features"
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
    """Take the list's name; a build of the same name that is under way is waited for. False when it is taken."""
    row = {**claimed._asdict(), **claimed.scope._asdict(), **claimed.new.model_dump(mode="json", include=AS_ASKED)}
    del row["new"], row["scope"]
    return db.execute(CLAIM, row).one_or_none() is not None


def complete(db: Db, list_id: UUID, funnel: list[FunnelStep], held_out: int, digest: str, known_at: datetime) -> None:
    row = {"id": list_id, "count": funnel[-1].count, "held_out": held_out, "digest": digest, "known_at": known_at}
    db.execute(COMPLETE, {**row, "funnel": [step.model_dump() for step in funnel]})


def target_list(db: Db, list_id: UUID, now: datetime) -> TargetList:
    """Raises `NotFound`."""
    row = db.execute(ONE, {"id": list_id, "now": now}).one_or_none()
    if row is None:
        raise NotFound(f"There is no target list {list_id}.")
    return TargetList.model_validate(dict(row._mapping))


def target_lists(db: Db, page: PageRequest, name: str | None, now: datetime) -> list[TargetList]:
    """Newest first, one more than the page holds."""
    at, last = page.after or (None, None)
    rows = db.execute(PAGE, {"name": name, "at": at, "id": last, "limit": page.limit + 1, "now": now})
    return [TargetList.model_validate(dict(row._mapping)) for row in rows]


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
