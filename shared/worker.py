"""A service's worker: a process of its own that takes jobs from the queue and does the periodic work."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import structlog
from procrastinate import App
from prometheus_client import make_wsgi_app
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from shared.jobs import JobContext, Jobs, depth
from shared.queue import end_abandoned, queue_of
from shared.telemetry import QUEUE_DEPTH

log = structlog.get_logger()

HEARTBEAT = 2.0  # seconds between a worker's signs of life
STALLED_AFTER = 10.0  # seconds without one after which its jobs are given to another
PULSE = 5.0  # seconds between two looks at the queue
ALIVE_FOR = 60.0  # seconds without a look at the queue after which /healthz says so

_last_beat = time.monotonic()


def run(jobs: Jobs, context: JobContext, url: str, port: int) -> None:
    """Work until SIGTERM or SIGINT; then finish what is begun, for at most 25 seconds."""
    see_to_abandoned(jobs)
    queue = queue_of(jobs, context, url)
    _requeue_stalled(queue, jobs.service)
    server = _answer_health(context.settings.host, port)
    log.info("worker started", port=port)
    asyncio.run(_work(queue, jobs, context))
    server.shutdown()
    log.info("worker stopped")


def see_to_abandoned(jobs: Jobs) -> None:
    """Each minute, not only at the start: workers of an earlier release may go on beside this one for a while."""

    @jobs.every("* * * * * 45")
    def end_abandoned_jobs(context: JobContext) -> None:
        end_abandoned(jobs, context)


def _requeue_stalled(queue: App, service: str) -> None:
    @queue.periodic(cron="* * * * * */5", periodic_id="requeue")
    @queue.task(name="requeue", queue=service, queueing_lock="requeue", pass_context=True, priority=20)
    async def requeue(context: Any, timestamp: int) -> None:
        for stalled in await context.app.job_manager.get_stalled_jobs(seconds_since_heartbeat=STALLED_AFTER):
            log.warning("stalled job requeued", task=stalled.task_name)
            await context.app.job_manager.retry_job(stalled, retry_at=datetime.now(UTC) - timedelta(seconds=1))


async def _work(queue: App, jobs: Jobs, context: JobContext) -> None:
    looks = [
        asyncio.create_task(_again_and_again("pulse", partial(_feel_pulse, jobs.service, context.engine))),
        asyncio.create_task(_again_and_again("measures", partial(_measure, jobs, context))),
    ]
    async with queue.open_async():
        await queue.run_worker_async(
            queues=[jobs.service],
            concurrency=context.settings.worker_concurrency,
            delete_jobs="successful",
            fetch_job_polling_interval=2.0,
            update_heartbeat_interval=HEARTBEAT,
            stalled_worker_timeout=STALLED_AFTER,
            shutdown_graceful_timeout=25.0,
        )
    for look in looks:
        look.cancel()


async def _again_and_again(name: str, look: Callable[[], None]) -> None:
    """Look every few seconds, in a thread of its own.

    Not a job in the queue: long jobs may take every place in this worker, and another worker may take the job.
    """
    with ThreadPoolExecutor(1, name) as own:
        while True:
            try:
                await asyncio.get_running_loop().run_in_executor(own, look)
            except SQLAlchemyError as error:
                log.warning("database not reached", look=name, error=type(error).__name__)
            await asyncio.sleep(PULSE)


def _feel_pulse(service: str, engine: Engine) -> None:
    """Look at the queue, and note that this worker lives."""
    global _last_beat  # noqa: PLW0603
    counts = depth(engine)
    _last_beat = time.monotonic()
    for state, count in counts.items():
        QUEUE_DEPTH.labels(service, state).set(count)


def _measure(jobs: Jobs, context: JobContext) -> None:
    for measure in jobs.measures:
        measure(context)


def drain(jobs: Jobs, context: JobContext, url: str) -> None:
    """Run all queued jobs and return when none is left."""

    async def work() -> None:
        queue = queue_of(_without_ticks(jobs), context, url)
        async with queue.open_async():
            await queue.run_worker_async(queues=[jobs.service], wait=False, install_signal_handlers=False)

    asyncio.run(work())


def _without_ticks(jobs: Jobs) -> Jobs:
    plain = Jobs(jobs.service)
    plain.handlers, plain.endings = jobs.handlers, jobs.endings
    return plain


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Scrapes are not logged."""


def _answer_health(host: str, port: int) -> Any:
    metrics = make_wsgi_app()

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/metrics":
            scraped: Iterable[bytes] = metrics(environ, start)
            return scraped
        alive = time.monotonic() - _last_beat < ALIVE_FOR
        start("200 OK" if alive else "503 Service Unavailable", [("Content-Type", "application/json")])
        return [json.dumps({"status": "ok" if alive else "stalled"}).encode()]

    server = make_server(host, port, answer, handler_class=_Silent)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
