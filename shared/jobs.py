"""Long work: a job that callers can watch and cancel, and that a killed worker's successor takes up again.

The `job` table is what the API shows; the queue is procrastinate's, in the same schema, and its entry is written in
the caller's own transaction. How a job is run stands in `shared.queue`.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

import sqlalchemy as sa
import structlog
from procrastinate import App, SyncPsycopgConnector
from pydantic import ConfigDict

from shared.clients.peer import Peer
from shared.contracts.base import Instant, JsonValue, Message
from shared.db import Db, driver, new_id, read_only, transaction
from shared.errors import Conflict, NotFound
from shared.pages import PageRequest
from shared.settings import Settings

Progress = Callable[[float], None]  # told between steps how much is done, 0 to 1; raises `Cancelled`
Handler = Callable[["JobContext", dict[str, Any]], dict[str, Any] | None]
Tick = Callable[["JobContext"], None]
Ending = Callable[[Db, dict[str, Any], str, str], None]  # (db, arguments, "failed" or "cancelled", why)

INSERT = sa.text("""
    insert into job (id, kind, arguments, queue_id, request_id, created_at)
    values (:id, :kind, cast(:arguments as jsonb), :queue_id, :request_id, :now)
""").bindparams(sa.bindparam("arguments", type_=sa.JSON))
COLUMNS = "j.id, j.kind, j.state, j.progress, j.result, j.problem, j.created_at, j.started_at, j.finished_at"
ONE = sa.text(f"select {COLUMNS} from job as j where j.id = :id")  # noqa: S608
MANY = sa.text(f"""
    select {COLUMNS}
      from job as j
     where cast(:at as timestamptz) is null or (j.created_at, j.id) < (cast(:at as timestamptz), cast(:id as uuid))
     order by j.created_at desc, j.id desc
     limit :limit
""")  # noqa: S608
PROGRESS = sa.text("update job as j set progress = :done where j.id = :id returning j.cancel_requested")
CANCEL = sa.text("""
    update job as j
       set cancel_requested = true,
           state = case when j.state = 'queued' then 'cancelled' else j.state end,
           finished_at = case when j.state = 'queued' then :now else j.finished_at end,
           problem = case when j.state = 'queued' then null else j.problem end
     where j.id = :id and j.state in ('queued', 'running')
 returning j.kind, j.arguments, j.state
""")
DEPTH = sa.text(
    "select j.state, count(*) as jobs from job as j where j.state in ('queued', 'running') group by j.state"
)


class Job(Message):
    """Long work as a caller sees it. `progress` runs from 0 to 1; a `result` or a `problem` comes at the end."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    kind: str
    state: str
    progress: float
    result: JsonValue = None
    problem: JsonValue = None
    created_at: Instant
    started_at: Instant | None = None
    finished_at: Instant | None = None


CANCELLED = "It was cancelled."


class Cancelled(Exception):
    """Cancellation was requested; the handler lets this pass."""


def unwatched(done: float) -> None:
    """The progress of work whose caller waits for its end: nobody watches or cancels it."""


class JobContext(NamedTuple):
    """What a handler works with. `peers` are the clients of the services this one may call, by name."""

    engine: sa.Engine
    settings: Settings
    peers: dict[str, Peer]
    job_id: UUID | None = None

    def progress(self, done: float) -> None:
        """Store how much is done (0 to 1), between chunks. Raises `Cancelled` when that was asked for."""
        with transaction(self.engine) as db:
            row = db.execute(PROGRESS, {"id": self.job_id, "done": min(max(done, 0.0), 1.0)}).one_or_none()
        if row is not None and row.cancel_requested:
            raise Cancelled


class Jobs:
    """The jobs and the periodic work of one service, and its queue."""

    def __init__(self, service: str) -> None:
        self.service = service
        self.handlers: dict[str, Handler] = {}
        self.endings: dict[str, Ending] = {}
        self.ticks: dict[str, tuple[str, Tick]] = {}
        self.measures: list[Tick] = []

    def handles(self, kind: str) -> Callable[[Handler], Handler]:
        """Register the handler of a kind of job: `(context, arguments) -> result`."""

        def register(handler: Handler) -> Handler:
            self.handlers[kind] = handler
            return handler

        return register

    def ended(self, kind: str) -> Callable[[Ending], Ending]:
        """Register what follows when a job of this kind fails or is cancelled, in the transaction that says so."""

        def register(ending: Ending) -> Ending:
            self.endings[kind] = ending
            return ending

        return register

    def end(self, db: Db, work: sa.Row[Any], state: str, why: str) -> None:
        """Let what a job worked on know that it will not come to its end; `work` has its kind and arguments."""
        if work.kind in self.endings:
            self.endings[work.kind](db, work.arguments, state, why)

    def every(self, cron: str) -> Callable[[Tick], Tick]:
        """Register periodic work by a cron line (six fields: seconds come last). It never runs twice at once."""

        def register(tick: Tick) -> Tick:
            self.ticks[tick.__name__] = (cron, tick)
            return tick

        return register

    def measured(self, measure: Tick) -> Tick:
        """Register what every worker looks at each few seconds, so that work that fails or waits is seen to."""
        self.measures.append(measure)
        return measure

    def run_ticks(self, context: JobContext) -> None:
        """Run all periodic work once, in the order of its registration."""
        for _cron, tick in self.ticks.values():
            tick(context)


def enqueue(db: Db, kind: str, arguments: dict[str, Any]) -> Job:
    """Create a job and its queue entry in the transaction of `db`: both are there, or neither."""
    job_id, now = new_id(), datetime.now(UTC)
    queue = App(connector=SyncPsycopgConnector())
    service = db.execute(sa.text("select current_schema()")).scalar_one()
    deferrer = queue.configure_task("run", allow_unknown=True, queue=service, connection=driver(db))
    row = {
        "id": job_id,
        "kind": kind,
        "arguments": arguments,
        "queue_id": deferrer.defer(job_id=str(job_id)),
        "request_id": structlog.contextvars.get_contextvars().get("request_id"),
        "now": now,
    }
    db.execute(INSERT, row)
    return Job(id=job_id, kind=kind, state="queued", progress=0, created_at=now)


def job(db: Db, job_id: UUID) -> Job:
    """Raises `NotFound`."""
    row = db.execute(ONE, {"id": job_id}).one_or_none()
    if row is None:
        raise NotFound(f"There is no job {job_id}.")
    return Job.model_validate(row)


def jobs(db: Db, page: PageRequest) -> list[Job]:
    """The newest first, one more than the page holds."""
    at, last = page.after or (None, None)
    rows = db.execute(MANY, {"at": at, "id": last, "limit": page.limit + 1})
    return [Job.model_validate(row) for row in rows]


def cancel(jobs: Jobs, db: Db, job_id: UUID) -> Job:
    """Ask a job to stop. A queued one is cancelled at once, a running one between its chunks. Raises `Conflict`."""
    work = db.execute(CANCEL, {"id": job_id, "now": datetime.now(UTC)}).one_or_none()
    if work is None:
        raise Conflict(f"Job {job_id} has already {job(db, job_id).state}.")
    if work.state == "cancelled":
        jobs.end(db, work, "cancelled", CANCELLED)
    return job(db, job_id)


def depth(engine: sa.Engine) -> dict[str, int]:
    """Open jobs by state."""
    with read_only(engine) as db:
        return {"queued": 0, "running": 0} | {row.state: row.jobs for row in db.execute(DEPTH)}
