"""SQL of rejects: what was refused, why, and when a retry took it."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa

from shared.contracts.feedback import Door, Reject, RejectCode
from shared.db import Db, copy_rows
from shared.pages import PageRequest

COPY = """
    copy feedback.reject (id, received_at, door, code, index, pointer, detail, raw, whole, source_row, request_id)
    from stdin
"""
SHOWN = "id, received_at, door, code, index, pointer, detail, raw, whole, request_id, retried_at"
MANY = sa.text(f"""
    select {SHOWN}
      from feedback.reject as r
     where (cast(:code as text) is null or r.code = :code)
       and (cast(:door as text) is null or r.door = :door)
       and (cast(:after as uuid) is null or r.id < :after)
     order by r.id desc
     limit :limit
""")  # noqa: S608
LOCKED = sa.text("""
    select r.id, r.door, r.raw, r.whole, r.source_row
      from feedback.reject as r
     where r.id = any(cast(:ids as uuid[]))
     order by r.id
       for update
""")
RETRIED = sa.text("update feedback.reject as r set retried_at = :now where r.id = any(cast(:ids as uuid[]))")


class NewReject(NamedTuple):
    """A row of the reject store, in the order of its columns."""

    id: UUID
    received_at: datetime
    door: Door
    code: RejectCode
    place: int
    pointer: str
    detail: str
    raw: bytes
    whole: bool
    source_row: int | None
    request_id: str


class Stored(NamedTuple):
    """What a retry needs of a reject."""

    id: UUID
    door: Door
    raw: bytes
    whole: bool
    source_row: int | None


def insert(db: Db, rejects: Sequence[NewReject]) -> None:
    """Keep them, in the transaction that refused them."""
    if rejects:
        copy_rows(db, COPY, rejects)


def rejects(db: Db, code: str | None, door: str | None, page: PageRequest) -> list[Reject]:
    """The newest first."""
    after = page.after[0] if page.after else None
    rows = db.execute(MANY, {"code": code, "door": door, "after": after, "limit": page.limit + 1}).mappings()
    return [Reject.model_validate({**row, "raw": bytes(row["raw"]).decode("utf-8", "replace")}) for row in rows]


def locked(db: Db, ids: Sequence[UUID]) -> dict[UUID, Stored]:
    """The rejects with these ids, held until the transaction ends."""
    rows = db.execute(LOCKED, {"ids": list(ids)})
    return {row.id: Stored(row.id, row.door, bytes(row.raw), row.whole, row.source_row) for row in rows}


def mark_retried(db: Db, ids: Sequence[UUID], now: datetime) -> None:
    db.execute(RETRIED, {"ids": list(ids), "now": now})
