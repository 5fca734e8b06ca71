"""A small service that lives in audience's schema and exists only to show what the foundation promises."""

import threading
from collections.abc import Iterable, Iterator

import httpx
import pytest
import uvicorn
from fastapi import APIRouter, Request

from services.stack.postgres import free_port
from shared import errors
from shared.auth import requires
from shared.bodies import StrictRoute, ndjson_lines, stream
from shared.contracts.base import Instant, JsonValue, Message, Money, Name
from shared.csv_rows import csv_rows
from shared.db import Db, Tx, new_id
from shared.idempotency import Once
from shared.jobs import Job, JobContext, Jobs, enqueue
from shared.pages import Page, Paged
from shared.service import ACCEPTED, Service, accepted, create_app
from shared.settings import Settings
from tests.conftest import KEY

router = APIRouter(prefix="/v1/things", route_class=StrictRoute, dependencies=[requires("audience:read")])
toy_jobs = Jobs("audience")
began = threading.Event()
go_on = threading.Event()
ended: list[tuple[str, str]] = []


class Thing(Message):
    name: Name
    at: Instant | None = None
    price: Money | None = None
    extra: JsonValue = None


class Made(Message):
    id: str
    name: str


@router.post("", status_code=201, dependencies=[requires("audience:write")])
def create(thing: Thing, db: Tx, once: Once) -> Made:
    return once(db, thing, lambda: Made(id=str(new_id()), name=thing.name), Made)


@router.get("")
def numbers(page: Paged, of: str = "all") -> Page[int]:
    start = int(page.after[0]) + 1 if page.after else 0
    return page.answer(list(range(start, min(start + page.limit + 1, 250))), lambda number: [str(number)])


@router.post("/count")
def count(request: Request, kind: str = "ndjson") -> dict[str, int]:
    body = stream(request, limit=10_000_000)
    rows: Iterable[object] = csv_rows(body, ()) if kind == "csv" else ndjson_lines(body)
    return {"rows": sum(1 for _ in rows)}


@router.get("/fail/{how}")
def fail(how: str, customer: str = "") -> None:
    raise {"conflict": errors.Conflict("no"), "busy": errors.Busy("later", 7), "bug": KeyError("secret@example.org")}[
        how
    ]


@router.post("/long", status_code=202, responses=ACCEPTED, dependencies=[requires("audience:write")])
def long_work(thing: Thing, db: Tx) -> Job:
    return accepted(enqueue(db, thing.name, {"extra": thing.extra}))


@toy_jobs.handles("double")
def double(context: JobContext, arguments: dict[str, int]) -> dict[str, int]:
    context.progress(0.5)
    return {"doubled": 2 * arguments["extra"]}


@toy_jobs.handles("refuse")
def refuse(context: JobContext, arguments: dict[str, int]) -> None:
    raise errors.Invalid("It cannot be done.", [errors.FieldError("/extra", "wrong")])


@toy_jobs.handles("crash")
def crash(context: JobContext, arguments: dict[str, int]) -> None:
    raise ZeroDivisionError("secret@example.org")


@toy_jobs.handles("wait")
def wait(context: JobContext, arguments: dict[str, int]) -> None:
    began.set()
    go_on.wait(20)
    context.progress(0.5)


@toy_jobs.handles("away")
def call_away(context: JobContext, arguments: dict[str, int]) -> None:
    began.set()
    go_on.wait(20)
    raise errors.PeerUnavailable("Nobody is there.")


@toy_jobs.ended("away")
def end_away(db: Db, arguments: dict[str, int], state: str, why: str) -> None:
    ended.append((state, why))


@pytest.fixture(scope="session")
def toy_service() -> Service:
    return Service("audience", "Toy", "A service for tests", "0", [router], toy_jobs, {})


@pytest.fixture(scope="session")
def toy(settings: Settings, database: str, toy_service: Service) -> Iterator[httpx.Client]:
    port = free_port()
    app = create_app(toy_service, settings)
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {KEY}"}) as client:
        yield client
    server.should_exit = True
    thread.join(10)
