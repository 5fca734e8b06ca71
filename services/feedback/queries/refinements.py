"""SQL of refinements: the ledger of an experiment's proposals, verdicts and decisions."""

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import col, select

from services.feedback.tables import RefinementRow
from shared.contracts.feedback import NewRefinement, Refinement
from shared.db import Db
from shared.errors import NotFound
from shared.pages import PageRequest

ONE_AT_A_TIME = sa.text("select pg_advisory_xact_lock(hashtextextended('refinement ' || :experiment, 0))")
NUMBER = sa.text("""
    update feedback.refinement as r
       set proposal = 1 + (select coalesce(max(o.proposal), 0)
                             from feedback.refinement as o
                            where o.experiment = r.experiment)
     where r.id = :id and r.proposal is null
""")


def insert(db: Db, refinement_id: UUID, new: NewRefinement, job_id: UUID, now: datetime) -> None:
    """A search that is about to begin."""
    row = {**new.model_dump(), "id": refinement_id, "state": "searching", "job_id": job_id, "created_at": now}
    db.execute(sa.insert(RefinementRow).values(row))


def refinement(db: Db, refinement_id: UUID, *, lock: bool = False) -> Refinement:
    """Raises `NotFound`."""
    query = select(RefinementRow).where(RefinementRow.id == refinement_id).execution_options(populate_existing=True)
    row = db.exec(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise NotFound(f"There is no refinement {refinement_id}.")
    return _message(row)


def refinements(db: Db, experiment: str | None, page: PageRequest) -> list[Refinement]:
    """The newest first, one more than the page holds."""
    query = select(RefinementRow).order_by(col(RefinementRow.id).desc()).limit(page.limit + 1)
    if experiment is not None:
        query = query.where(RefinementRow.experiment == experiment)
    if page.after:
        query = query.where(RefinementRow.id < UUID(page.after[0]))
    return [_message(row) for row in db.exec(query)]


def _message(row: RefinementRow) -> Refinement:
    return Refinement.model_validate(row.model_dump(exclude={"job_id"}) | {"job": row.job_id})


def number(db: Db, found: Refinement) -> int:
    """The proposal's number in its experiment's ledger: given once, kept when the search is run again."""
    db.execute(ONE_AT_A_TIME, {"experiment": found.experiment})
    db.execute(NUMBER, {"id": found.id})
    given = refinement(db, found.id).proposal
    assert given is not None
    return given


def change(db: Db, refinement_id: UUID, state: str, values: dict[str, Any]) -> None:
    """Set columns of a refinement that is in `state`; one that is not stays as it is."""
    this = sa.update(RefinementRow).where(col(RefinementRow.id) == refinement_id, col(RefinementRow.state) == state)
    db.execute(this.values(values).execution_options(synchronize_session=False))
