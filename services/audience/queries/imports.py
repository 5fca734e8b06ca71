"""Bulk loads and the rows they refused."""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import col, select

from services.audience.queries.parameters import with_json
from services.audience.screening import Refused
from services.audience.tables import ImportRow
from shared.contracts.audience import ImportReject, QualityReport, Refusal
from shared.db import Db, copy_rows
from shared.errors import NotFound
from shared.pages import PageRequest

Format = Literal["json", "ndjson", "csv"]

INSERT = sa.text("""
    insert into audience.import (id, kind, format, state, started_at)
    values (:id, 'customers', :format, 'running', :now)
""")
UPDATE = with_json(
    sa.text("""
    update audience.import as i
       set rows = :rows, accepted = :accepted, customers = :customers, new_customers = :new_customers,
           reasons = :reasons
     where i.id = :id
"""),
    "reasons",
)
FINISH = with_json(
    sa.text("""
    update audience.import as i
       set state = :state, problem = :problem, finished_at = :now, supplemented = :supplemented
     where i.id = :id
"""),
    "supplemented",
)
ABANDON = sa.text("""
    update audience.import as i
       set state = 'failed', problem = 'The load broke off.', finished_at = :now
     where i.state = 'running' and i.started_at < :before
""")
COPY_REJECTS = "copy audience.import_reject (import_id, row, ordinal, pointer, detail, content) from stdin"
REJECTS = sa.text("""
    select r.row, r.ordinal, r.pointer, r.detail, r.content
      from audience.import_reject as r
     where r.import_id = :id and (r.row, r.ordinal) > (:row, :ordinal)
     order by r.row, r.ordinal
     limit :limit
""")


class Counts(NamedTuple):
    """What a load has found so far; `reasons` are the most frequent ones."""

    rows: int
    accepted: int
    customers: int
    new_customers: int
    reasons: list[Refusal]


def start(db: Db, load: UUID, format_: Format, now: datetime) -> None:
    db.execute(INSERT, {"id": load, "format": format_, "now": now})


def update(db: Db, load: UUID, counts: Counts) -> None:
    reasons = [reason.model_dump() for reason in counts.reasons]
    db.execute(UPDATE, {"id": load, **counts._asdict(), "reasons": reasons})


def finish(db: Db, load: UUID, now: datetime, supplemented: dict[str, int], problem: str | None = None) -> None:
    """The load is over; with a `problem` it failed, and what it had taken until then stays."""
    state = "failed" if problem else "finished"
    db.execute(FINISH, {"id": load, "state": state, "problem": problem, "now": now, "supplemented": supplemented})


def abandon(db: Db, before: datetime, now: datetime) -> None:
    """Loads begun before `before` and still running belong to a process that is gone."""
    db.execute(ABANDON, {"before": before, "now": now})


def report(db: Db, load: UUID) -> QualityReport:
    """Raises `NotFound`."""
    row = db.exec(select(ImportRow).where(ImportRow.id == load)).one_or_none()
    if row is None:
        raise NotFound(f"There is no import {load}.")
    return _message(row)


def reports(db: Db, page: PageRequest) -> list[QualityReport]:
    """Newest first, one more than the page holds."""
    at, own = col(ImportRow.started_at), col(ImportRow.id)
    query = select(ImportRow).order_by(at.desc(), own.desc()).limit(page.limit + 1)
    if page.after:
        query = query.where(sa.tuple_(at, own) < (datetime.fromisoformat(page.after[0]), UUID(page.after[1])))
    return [_message(row) for row in db.exec(query)]


def _message(row: ImportRow) -> QualityReport:
    counted = {"rejected": row.rows - row.accepted, "duplicates": row.accepted - row.customers}
    return QualityReport.model_validate({**row.model_dump(), **counted})


def insert_rejects(db: Db, load: UUID, refused: Iterable[tuple[int, Refused]]) -> None:
    """Keep refused rows, one for each reason."""
    rows = (
        (load, row, ordinal, error.pointer, error.detail, json.dumps(one.content))
        for row, one in refused
        for ordinal, error in enumerate(one.errors)
    )
    copy_rows(db, COPY_REJECTS, rows)


def rejects(db: Db, load: UUID, page: PageRequest) -> list[tuple[int, ImportReject]]:
    """(ordinal, reject) in the order of the file, one more than the page holds."""
    row, ordinal = page.after or ("0", "-1")
    found = db.execute(REJECTS, {"id": load, "row": int(row), "ordinal": int(ordinal), "limit": page.limit + 1})
    return [
        (one.ordinal, ImportReject(row=one.row, pointer=one.pointer, detail=one.detail, content=one.content))
        for one in found
    ]
