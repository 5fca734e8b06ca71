"""How a service is put together: one FastAPI application, its peers, its worker."""

import gc
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any, NamedTuple
from uuid import UUID

import sqlalchemy as sa
import uvicorn
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from shared import auth, documentation, jobs, middleware, problems
from shared.bodies import StrictRoute
from shared.clients.peer import Peer, peer_http
from shared.db import ReadTx, Tx, connect
from shared.draining import Drained
from shared.jobs import Job, JobContext, Jobs
from shared.migrate import is_current
from shared.pages import Page, Paged
from shared.settings import Misconfigured, Settings, from_environment
from shared.telemetry import configure_logging, log_what_ends_the_process
from shared.uploads import Uploads

DOCUMENTED = (400, 401, 403, 404, 409, 413, 415, 422, 429, 503)


class Service(NamedTuple):
    """What one service is made of. `peers` are the services it calls, by name, with their client classes."""

    name: str
    title: str
    description: str
    version: str
    routers: Sequence[APIRouter]
    jobs: Jobs
    peers: dict[str, type[Peer]]


def create_app(service: Service, settings: Settings) -> FastAPI:
    """The application of a service. It connects lazily: Postgres may come later than it."""
    if not settings.secret:
        raise Misconfigured("Set ATTUNE_SECRET: without it no key can be checked.")
    app = FastAPI(
        title=service.title,
        description=service.description,
        version=service.version,
        lifespan=_lifespan,
        responses={status: {"model": problems.Problem, "description": "Problem"} for status in DOCUMENTED},
        docs_url=None,
        redoc_url=None,
    )
    context = make_context(service, settings, "service")
    app.state.settings, app.state.engine, app.state.peers = settings, context.engine, context.peers
    app.state.keys, app.state.service, app.state.uploads = auth.KeyRing(settings), service, Uploads()
    problems.install(app)
    for router in (*service.routers, _jobs_router(service.jobs), _plain, documentation.router):
        app.include_router(router)
    app.add_middleware(middleware.Observed, service=service.name)
    app.add_middleware(Drained)
    return app


def make_context(service: Service, settings: Settings, part: str) -> JobContext:
    """What endpoints and jobs of a service work with; `part` names the process to Postgres."""
    engine = connect(
        settings.database_of(service.name), name=f"attune-{service.name}-{part}", pool_size=settings.database_pool
    )
    peers = {
        name: client(peer_http(settings.url_of(name), settings.service_key)) for name, client in service.peers.items()
    }
    return JobContext(engine, settings, peers)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    app.state.engine.dispose()


_plain = APIRouter(tags=["service"])


@_plain.get("/", include_in_schema=False)
def links(request: Request) -> dict[str, str]:
    """Where to go from here."""
    service: Service = request.app.state.service
    return {"service": service.name, "version": service.version, "docs": "/docs", "openapi": "/openapi.json"}


@_plain.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process is there. It waits for no thread: one that is only busy must not be killed for it."""
    return {"status": "ok"}


@_plain.get("/readyz", responses={503: {"description": "Not ready"}})
def readyz(request: Request) -> JSONResponse:
    """The database answers and is migrated. Peers are shown and never decide."""
    state = request.app.state
    database = _database(state.engine, state.service.name)
    peers = {name: "ok" if peer.answers() else "away" for name, peer in state.peers.items()}
    ready = database == "ok"
    content = {"status": "ok" if ready else "unavailable", "database": database, "peers": peers}
    return JSONResponse(content, 200 if ready else 503)


def _database(engine: sa.Engine, service: str) -> str:
    try:
        with engine.connect() as connection:
            return "ok" if is_current(connection, service) else "not migrated"
    except (sa.exc.DBAPIError, sa.exc.TimeoutError):
        return "away"


@_plain.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def metrics() -> Response:
    """Metrics for Prometheus."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


def _jobs_router(work: Jobs) -> APIRouter:
    name = work.service
    router = APIRouter(
        prefix="/v1/jobs", tags=["jobs"], route_class=StrictRoute, dependencies=[auth.requires(f"{name}:read")]
    )

    @router.get("")
    def list_jobs(db: ReadTx, page: Paged) -> Page[Job]:
        """Long work, newest first."""
        return page.answer(jobs.jobs(db, page), lambda job: [job.created_at.isoformat(), str(job.id)])

    @router.get("/{job_id}")
    def get_job(job_id: UUID, db: ReadTx) -> Job:
        """How far long work is, and what came of it."""
        return jobs.job(db, job_id)

    @router.post("/{job_id}/cancel", dependencies=[auth.requires(f"{name}:write")])
    def cancel_job(job_id: UUID, db: Tx) -> Job:
        """Ask long work to stop: at once while queued, between two chunks while running."""
        return jobs.cancel(work, db, job_id)

    return router


def accepted(job: Job) -> JSONResponse:
    """202 with the place where the job can be watched."""
    return JSONResponse(job.model_dump(mode="json"), 202, {"Location": f"/v1/jobs/{job.id}"})


ACCEPTED: dict[int | str, dict[str, Any]] = {202: {"model": Job, "description": "Accepted: watch it at Location"}}


def _collect_seldom() -> None:
    """Look for garbage cycles after 50,000 new containers instead of 700, and never again at what was made by now.

    A batch makes thousands that all live until it is written: looking through them was a quarter of its CPU.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def main(service: Service, arguments: Annotated[Sequence[str], "of the command line"] = ()) -> None:
    """`python -m services.X serve` or `worker`."""
    command = (list(arguments) or sys.argv[1:] or ["serve"])[0]
    name = service.name if command == "serve" else f"{service.name}-worker"
    configure_logging(Settings.model_construct(), name)  # as it is by default, until the settings are read
    log_what_ends_the_process()
    settings = from_environment()
    configure_logging(settings, name)
    if command == "worker":
        from shared import worker

        context = make_context(service, settings, "worker")
        worker.run(service.jobs, context, settings.database_of(service.name), settings.worker_port_of(service.name))
    elif command == "serve":
        app = create_app(service, settings)
        _collect_seldom()
        uvicorn.run(
            app,
            host=settings.host,
            port=settings.port_of(service.name),
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=20,
        )
    else:
        raise SystemExit(f"Unknown command {command!r}: say serve or worker.")
