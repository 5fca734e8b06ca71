"""Long work: a job that callers can watch and cancel, and that a killed worker's successor takes up again.

The `job` table is what the API shows; the queue is procrastinate's, in the same schema, and its entry is written in
the caller's own transaction. Handlers must be idempotent: a job may be run again from its start.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
import sqlalchemy as sa
import structlog
from procrastinate import App, PsycopgConnector, RetryStrategy, SyncPsycopgConnector
from pydantic import ConfigDict
from sqlalchemy.exc import DBAPIError

from shared.clients.peer import Peer
from shared.contracts.base import Instant, JsonValue, Message
from shared.db import Db, driver, new_id, read_only, transaction
from shared.errors import Conflict, DomainError, NotFound, PeerUnavailable
from shared.pages import PageRequest
from shared.settings import Settings, libpq_url
from shared.telemetry import seen_of

log = structlog.get_logger()

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
START = sa.text("""
    update job as j
       set state = 'running', started_at = coalesce(j.started_at, :now), problem = null
     where j.id = :id and j.state in ('queued', 'running')
 returning j.kind, j.arguments, j.request_id, j.cancel_requested
""")
PROGRESS = sa.text("update job as j set progress = :done where j.id = :id returning j.cancel_requested")
FINISH = sa.text("""
    update job as j
       set state = :state, result = cast(:result as jsonb), problem = cast(:problem as jsonb), finished_at = :now,
           progress = case when :state = 'succeeded' then 1 else j.progress end
     where j.id = :id and j.state in ('queued', 'running')
""").bindparams(
    sa.bindparam("result", type_=sa.JSON(none_as_null=True)), sa.bindparam("problem", type_=sa.JSON(none_as_null=True))
)
CANCEL = sa.text("""
    update job as j
       set cancel_requested = true,
           state = case when j.state = 'queued' then 'cancelled' else j.state end,
           finished_at = case when j.state = 'queued' then :now else j.finished_at end
     where j.id = :id and j.state in ('queued', 'running')
 returning j.kind, j.arguments, j.state
""")
WAIT_AGAIN = sa.text("""
    update job as j set state = 'queued', problem = cast(:problem as jsonb) where j.id = :id and j.state = 'running'
""").bindparams(sa.bindparam("problem", type_=sa.JSON))
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

    def queue(self, context: JobContext, url: str) -> App:
        """The queue with all work registered, ready for a worker."""
        connector = PsycopgConnector(
            conninfo=libpq_url(url), kwargs={"prepare_threshold": None}, min_size=1, max_size=6
        )
        app = App(connector=connector)
        retry = RetryStrategy(
            max_attempts=20, exponential_wait=2, retry_exceptions={PeerUnavailable, DBAPIError, psycopg.Error}
        )

        @app.task(name="run", queue=self.service, retry=retry)
        def run(job_id: str) -> None:
            run_job(self, context._replace(job_id=UUID(job_id)))

        for name, (cron, tick) in self.ticks.items():
            self._register_tick(app, name, cron, tick, context)
        return app

    def _register_tick(self, app: App, name: str, cron: str, tick: Tick, context: JobContext) -> None:
        def run(timestamp: int) -> None:  # when it was due; what matters is now
            structlog.contextvars.clear_contextvars()
            structlog.contextvars.bind_contextvars(tick=name)
            try:
                tick(context)
            except (PeerUnavailable, DBAPIError, psycopg.Error) as error:
                log.warning("periodic work postponed", **seen_of(error))

        task = app.task(name=name, queue=self.service, queueing_lock=name, lock=name, priority=10)(run)
        app.periodic(cron=cron, periodic_id=name)(task)


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


def run_job(jobs: Jobs, context: JobContext) -> None:
    """Run one job to its end and store what came of it. Only what a later attempt may mend is raised again."""
    with transaction(context.engine) as db:
        row = db.execute(START, {"id": context.job_id, "now": datetime.now(UTC)}).one_or_none()
    if row is None:  # cancelled, or finished by an earlier run
        return
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(job_id=str(context.job_id), kind=row.kind, request_id=row.request_id)
    try:
        if row.cancel_requested:
            raise Cancelled
        result = jobs.handlers[row.kind](context, row.arguments)
    except (PeerUnavailable, DBAPIError, psycopg.Error) as error:
        if isinstance(error, DBAPIError) and not error.connection_invalidated and not _passing(error):
            log.error("job broke", **seen_of(error))
            _break_off(jobs, context, row, "failed", _internal())
            return
        log.warning("job postponed", **seen_of(error))
        with suppress(DBAPIError), transaction(context.engine) as db:
            db.execute(
                WAIT_AGAIN,
                {"id": context.job_id, "problem": {"code": "unavailable", "detail": "Waiting to try again."}},
            )
        raise
    except Cancelled:
        _break_off(jobs, context, row, "cancelled", None)
    except DomainError as error:
        _break_off(jobs, context, row, "failed", _told(error))
    except Exception as error:
        log.error("job broke", **seen_of(error))
        _break_off(jobs, context, row, "failed", _internal())
    else:
        with transaction(context.engine) as db:
            _finish(db, context, "succeeded", result=result)


def _passing(error: DBAPIError) -> bool:
    passing = psycopg.OperationalError  # connection lost, deadlock, serialisation, time-outs
    return isinstance(error.orig, passing)


def _told(error: DomainError) -> dict[str, Any]:
    return {"code": error.code, "detail": error.detail, "errors": [field._asdict() for field in error.errors]}


def _internal() -> dict[str, Any]:
    return {"code": "internal", "detail": "Something went wrong here; the log has it under the job's id."}


def _break_off(jobs: Jobs, context: JobContext, work: sa.Row[Any], state: str, problem: dict[str, Any] | None) -> None:
    with transaction(context.engine) as db:
        _finish(db, context, state, problem=problem)
        jobs.end(db, work, state, problem["detail"] if problem else CANCELLED)


def _finish(
    db: Db, context: JobContext, state: str, result: dict[str, Any] | None = None, problem: dict[str, Any] | None = None
) -> None:
    row = {"id": context.job_id, "state": state, "result": result, "problem": problem, "now": datetime.now(UTC)}
    db.execute(FINISH, row)
    log.info(f"job {state}")
