"""The queue of one service: how its jobs are run, tried again and ended, and its periodic work.

Handlers must be idempotent: a job may be run again from its start.
"""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import sqlalchemy as sa
import structlog
from procrastinate import App, BaseRetryStrategy, PsycopgConnector, RetryDecision
from procrastinate.jobs import Job as Entry
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from shared.db import Db, transaction
from shared.errors import Busy, DomainError, PeerUnavailable
from shared.jobs import CANCELLED, Cancelled, JobContext, Jobs, Tick
from shared.settings import libpq_url
from shared.telemetry import seen_of

log = structlog.get_logger()

CONNECTIONS = 6  # that a worker's queue may hold, beside one that listens
LONGEST_WAIT = 60  # seconds between two attempts, at most: work resumes soon after what was away is back
PATIENCE = timedelta(days=7)  # from the first attempt on, until a job whose attempts all met somebody away is given up

START = sa.text("""
    update job as j
       set state = 'running', started_at = coalesce(j.started_at, :now), problem = null
     where j.id = :id and j.state in ('queued', 'running')
 returning j.kind, j.arguments, j.request_id, j.cancel_requested, j.started_at
""")
FINISH = sa.text("""
    update job as j
       set state = :state, result = cast(:result as jsonb), problem = cast(:problem as jsonb), finished_at = :now,
           progress = case when :state = 'succeeded' then 1 else j.progress end
     where j.id = :id and j.state in ('queued', 'running')
 returning j.id
""").bindparams(
    sa.bindparam("result", type_=sa.JSON(none_as_null=True)), sa.bindparam("problem", type_=sa.JSON(none_as_null=True))
)
WAIT_AGAIN = sa.text("""
    update job as j
       set state = 'queued', problem = cast(:problem as jsonb)
     where j.id = :id and j.state = 'running'
 returning j.cancel_requested
""").bindparams(sa.bindparam("problem", type_=sa.JSON))
ABANDONED = sa.text("""
    select j.id, j.kind, j.arguments, j.request_id
      from job as j
     where j.state in ('queued', 'running')
       and not exists (select from procrastinate_jobs as q where q.id = j.queue_id and q.status in ('todo', 'doing'))
""")
WAITING = {"code": "unavailable", "detail": "Waiting to try again."}
GIVEN_UP = {"code": "unavailable", "detail": f"What it needs was away for {PATIENCE.days} days; start it again."}
NEVER_AGAIN = {"code": "unavailable", "detail": "It was tried in vain until no attempt was left; start it again."}


class Patience(BaseRetryStrategy):
    """After 2, 4, 8 … seconds, and at last every minute, until the job itself gives up."""

    def get_retry_decision(self, *, exception: BaseException, job: Entry) -> RetryDecision | None:
        if not isinstance(exception, PeerUnavailable | Busy | SQLAlchemyError | psycopg.Error):
            return None
        return RetryDecision(retry_in={"seconds": min(2 ** min(job.attempts + 1, 10), LONGEST_WAIT)})


def passes(error: BaseException) -> bool:
    """Whether a later attempt may go well: a peer or what is needed was away or busy; a connection lost; a deadlock."""
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or isinstance(error.orig, psycopg.OperationalError)
    return isinstance(error, PeerUnavailable | Busy | PoolTimeout | psycopg.OperationalError)


def queue_of(jobs: Jobs, context: JobContext, url: str) -> App:
    """The queue with all work registered, ready for a worker."""
    connector = PsycopgConnector(
        conninfo=libpq_url(url), kwargs={"prepare_threshold": None}, min_size=1, max_size=CONNECTIONS
    )
    app = App(connector=connector)

    @app.task(name="run", queue=jobs.service, retry=Patience())
    def run(job_id: str) -> None:
        run_job(jobs, context._replace(job_id=UUID(job_id)))

    for name, (cron, tick) in jobs.ticks.items():
        _register_tick(app, jobs.service, name, cron, tick, context)
    return app


def _register_tick(app: App, service: str, name: str, cron: str, tick: Tick, context: JobContext) -> None:
    def run(timestamp: int) -> None:  # when it was due; what matters is now
        run_tick(name, tick, context)

    task = app.task(name=name, queue=service, queueing_lock=name, lock=name, priority=10)(run)
    app.periodic(cron=cron, periodic_id=name)(task)


def run_tick(name: str, tick: Tick, context: JobContext) -> None:
    """Run periodic work once. What the next time will not mend is an error, for somebody has to look at it."""
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(tick=name)
    try:
        tick(context)
    except (PeerUnavailable, Busy, SQLAlchemyError, psycopg.Error) as error:
        if passes(error):
            log.warning("periodic work postponed", **seen_of(error))
        else:
            log.error("periodic work broke", **seen_of(error))


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
    except Cancelled:
        _break_off(jobs, context, row, "cancelled", None)
    except Exception as error:
        if passes(error):
            if _waits(jobs, context, row, error):
                raise
        elif isinstance(error, DomainError):
            _break_off(jobs, context, row, "failed", _told(error))
        else:
            log.error("job broke", **seen_of(error))
            _break_off(jobs, context, row, "failed", _internal())
    else:
        with transaction(context.engine) as db:
            _finish(db, context, "succeeded", result=result)


def end_abandoned(jobs: Jobs, context: JobContext) -> None:
    """End open jobs that the queue will not try again: an earlier release ran out of attempts and left them so."""
    with transaction(context.engine) as db:
        abandoned = db.execute(ABANDONED).all()
    for work in abandoned:
        with structlog.contextvars.bound_contextvars(job_id=str(work.id), kind=work.kind, request_id=work.request_id):
            log.error("job given up")
            _break_off(jobs, context._replace(job_id=work.id), work, "failed", NEVER_AGAIN)


def _waits(jobs: Jobs, context: JobContext, work: sa.Row[Any], error: Exception) -> bool:
    """Put a job back for another attempt, or end it, if it was cancelled meanwhile or has been tried for too long."""
    if datetime.now(UTC) - work.started_at > PATIENCE:
        log.error("job given up", **seen_of(error))
        _break_off(jobs, context, work, "failed", GIVEN_UP)
        return False
    log.warning("job postponed", **seen_of(error))
    with suppress(SQLAlchemyError):  # Postgres itself may be what is away; then the queue alone knows of the job
        with transaction(context.engine) as db:
            waiting = db.execute(WAIT_AGAIN, {"id": context.job_id, "problem": WAITING}).one_or_none()
        if waiting is not None and waiting.cancel_requested:
            _break_off(jobs, context, work, "cancelled", None)
            return False
    return True


def _told(error: DomainError) -> dict[str, Any]:
    return {"code": error.code, "detail": error.detail, "errors": [field._asdict() for field in error.errors]}


def _internal() -> dict[str, Any]:
    return {"code": "internal", "detail": "Something went wrong here; the log has it under the job's id."}


def _break_off(jobs: Jobs, context: JobContext, work: sa.Row[Any], state: str, problem: dict[str, Any] | None) -> None:
    with transaction(context.engine) as db:
        if _finish(db, context, state, problem=problem):
            jobs.end(db, work, state, problem["detail"] if problem else CANCELLED)


def _finish(
    db: Db, context: JobContext, state: str, result: dict[str, Any] | None = None, problem: dict[str, Any] | None = None
) -> bool:
    """Whether this was the end: another worker, or who cancelled it, may have ended the job before."""
    row = {"id": context.job_id, "state": state, "result": result, "problem": problem, "now": datetime.now(UTC)}
    ended = db.execute(FINISH, row).one_or_none() is not None
    if ended:
        log.info(f"job {state}")
    return ended
