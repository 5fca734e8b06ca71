"""SQL of model runs: their registry, and how long their scores are kept."""

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from shared.contracts.feedback import ModelRun
from shared.db import Db
from shared.errors import NotFound
from shared.pages import PageRequest

SHOWN = """
    r.id, r.model, r.state, r.active, r.parameters, r.data_window as window, r.metrics, r.customers, r.job_id as job,
    r.created_at, r.published_at, r.delivered_at
"""
INSERT = sa.text("""
    insert into feedback.model_run (id, model, state, parameters, job_id, created_at)
    values (:id, :model, 'training', cast(:parameters as jsonb), :job_id, :now)
""").bindparams(sa.bindparam("parameters", type_=sa.JSON))
ONE = sa.text(f"select {SHOWN} from feedback.model_run as r where r.id = :id")  # noqa: S608
LOCKED = sa.text(f"select {SHOWN} from feedback.model_run as r where r.id = :id for update")  # noqa: S608
MANY = sa.text(f"""
    select {SHOWN}
      from feedback.model_run as r
     where (cast(:model as text) is null or r.model = :model) and (cast(:after as uuid) is null or r.id < :after)
     order by r.id desc
     limit :limit
""")  # noqa: S608
RETIRE = sa.text("update feedback.model_run as r set active = false where r.model = :model and r.active")
PUBLISH = sa.text("""
    update feedback.model_run as r
       set state = 'published', active = true, parameters = cast(:parameters as jsonb),
           data_window = cast(:window as jsonb), metrics = cast(:metrics as jsonb), customers = :customers,
           published_at = :now
     where r.id = :id
""").bindparams(*(sa.bindparam(name, type_=sa.JSON) for name in ("parameters", "window", "metrics")))
DELIVERED = sa.text("""
    update feedback.model_run as r set state = 'delivered', delivered_at = :now where r.id = :id
""")
CLEAR = sa.text("delete from feedback.score as s where s.run_id = :id")
DROP_OLDER = sa.text("""
    delete from feedback.score as s
     using feedback.model_run as r
     where r.id = s.run_id and r.model = :model and not r.active and r.id < :id
""")


def insert(db: Db, run_id: UUID, model: str, parameters: dict[str, Any], job_id: UUID, now: datetime) -> None:
    row = {"id": run_id, "model": model, "parameters": parameters, "job_id": job_id, "now": now}
    db.execute(INSERT, row)


def run(db: Db, run_id: UUID, *, lock: bool = False) -> ModelRun:
    """Raises `NotFound`."""
    row = db.execute(LOCKED if lock else ONE, {"id": run_id}).mappings().one_or_none()
    if row is None:
        raise NotFound(f"There is no model run {run_id}.")
    return ModelRun.model_validate(dict(row))


def runs(db: Db, model: str | None, page: PageRequest) -> list[ModelRun]:
    """The newest first, one more than the page holds."""
    after = page.after[0] if page.after else None
    rows = db.execute(MANY, {"model": model, "after": after, "limit": page.limit + 1}).mappings()
    return [ModelRun.model_validate(dict(row)) for row in rows]


def clear(db: Db, run_id: UUID) -> None:
    """Forget the scores of a run that is made anew."""
    db.execute(CLEAR, {"id": run_id})


def publish(db: Db, run: ModelRun, now: datetime) -> None:
    """Show a run's scores to its readers, all at once, in place of the model's earlier run."""
    db.execute(RETIRE, {"model": run.model})
    row = {"id": run.id, "parameters": run.parameters, "window": run.window, "metrics": run.metrics, "now": now}
    db.execute(PUBLISH, {**row, "customers": run.customers})


def delivered(db: Db, run: ModelRun, now: datetime) -> None:
    """Audience has taken the run over: scores of the model's earlier runs are needed no more."""
    db.execute(DELIVERED, {"id": run.id, "now": now})
    db.execute(DROP_OLDER, {"id": run.id, "model": run.model})
