"""SQL of model runs: their registry, and how long their scores are kept."""

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import col, select

from services.feedback.tables import ModelRunRow
from shared.contracts.feedback import ModelRun
from shared.db import Db
from shared.errors import NotFound
from shared.pages import PageRequest

CLEAR = sa.text("delete from feedback.score as s where s.run_id = :id")
DROP_OLDER = sa.text("""
    delete from feedback.score as s
     using feedback.model_run as r
     where r.id = s.run_id and r.model = :model and not r.active and r.id < :id
""")


def insert(db: Db, run_id: UUID, model: str, parameters: dict[str, Any], job_id: UUID, now: datetime) -> None:
    """A run that is about to begin."""
    row = {"id": run_id, "model": model, "state": "training", "parameters": parameters, "job_id": job_id}
    db.execute(sa.insert(ModelRunRow).values(row | {"created_at": now}))


def run(db: Db, run_id: UUID, *, lock: bool = False) -> ModelRun:
    """Raises `NotFound`."""
    query = select(ModelRunRow).where(ModelRunRow.id == run_id)
    row = db.exec(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise NotFound(f"There is no model run {run_id}.")
    return _message(row)


def runs(db: Db, model: str | None, page: PageRequest) -> list[ModelRun]:
    """The newest first, one more than the page holds."""
    query = select(ModelRunRow).order_by(col(ModelRunRow.id).desc()).limit(page.limit + 1)
    if model is not None:
        query = query.where(ModelRunRow.model == model)
    if page.after:
        query = query.where(ModelRunRow.id < UUID(page.after[0]))
    return [_message(row) for row in db.exec(query)]


def _message(row: ModelRunRow) -> ModelRun:
    told = row.model_dump(exclude={"data_window", "job_id"})
    return ModelRun.model_validate(told | {"window": row.data_window, "job": row.job_id})


def clear(db: Db, run_id: UUID) -> None:
    """Forget the scores of a run that is made anew."""
    db.execute(CLEAR, {"id": run_id})


def publish(db: Db, run: ModelRun, now: datetime) -> None:
    """Show a run's scores to its readers, all at once, in place of the model's earlier run.

    A run that scored nobody takes no other's place.
    """
    scored = bool(run.customers)
    if scored:
        earlier = sa.update(ModelRunRow).where(col(ModelRunRow.model) == run.model, col(ModelRunRow.active))
        db.execute(earlier.values(active=False))
    found = {"parameters": run.parameters, "data_window": run.window, "metrics": run.metrics}
    this = sa.update(ModelRunRow).where(col(ModelRunRow.id) == run.id)
    db.execute(this.values(state="published", active=scored, customers=run.customers, published_at=now, **found))


def end(db: Db, run_id: UUID, state: str) -> None:
    """Give up a run that is not published."""
    this = sa.update(ModelRunRow).where(col(ModelRunRow.id) == run_id, col(ModelRunRow.state) == "training")
    db.execute(this.values(state=state).execution_options(synchronize_session=False))


def delivered(db: Db, run: ModelRun, now: datetime) -> None:
    """Audience has taken the run over: scores of the model's earlier runs are needed no more."""
    this = sa.update(ModelRunRow).where(col(ModelRunRow.id) == run.id)
    db.execute(this.values(state="delivered", delivered_at=now))
    db.execute(DROP_OLDER, {"id": run.id, "model": run.model})
