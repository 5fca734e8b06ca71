"""`/v1/assign` over real HTTP, one process, against an empty FastAPI route in a process of its own.

The same load generator sends the same requests to both, in turn, over one connection and over sixteen. It is a process
of its own on the same machine, as Postgres is, and both share the cores with what is measured.
"""

import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from itertools import count
from statistics import median
from typing import NamedTuple

import psycopg
import sqlalchemy as sa
from fastapi import FastAPI

from services.stack.postgres import free_port
from shared.db import connect, transaction
from shared.settings import Settings, libpq_url
from tests.bench.experiment import started
from tests.bench.installation import Serving, cpu_seconds, installation, process, service
from tests.bench.load import exchange, generator, request
from tests.bench.row import RUNS, Row, from_pairs

PATH = "/v1/assign"
CUSTOMERS = 100_000
SESSIONS = "attune-experiments-service"  # the name under which Postgres shows them
PEOPLE = """
    insert into audience.customer (customer_id, attributes, known_at, updated_at)
    select 'customer-' || n, jsonb_build_object('country', 'pt', 'age', 18 + n * 7 % 60), now(), now()
      from generate_series(1, :customers) as n
"""

empty = FastAPI()


@empty.get("/readyz")
@empty.post(PATH)
async def nothing() -> dict[str, str]:
    """Answer, and do nothing."""
    return {}


class Shape(NamedTuple):
    """How customers come: so many, over so many connections, for the first time or again."""

    subject: str
    connections: int
    requests: int
    new: bool


SHAPES = (
    Shape("assign online, new customers, 1 connection", 1, 2_000, True),
    Shape("assign online, new customers, 16 connections", 16, 10_000, True),
    Shape("assign online, known customers, 16 connections", 16, 10_000, False),
)


class Taken(NamedTuple):
    """One run of one side: requests per second, and per request the CPU seconds of its process and of its sessions
    in Postgres."""

    rate: float
    cpu: float
    database: float


class Bench(NamedTuple):
    """What is measured, and with what."""

    product: Serving
    floor: Serving
    database: str
    generator: ProcessPoolExecutor


def run(size: float) -> list[Row]:
    """Measure every shape; `size` 1 is the full size."""
    with installation() as settings:
        fill(settings)
        with service("experiments", settings) as product, _empty() as floor, generator() as pool:
            bench, numbers = Bench(product, floor, settings.database_url, pool), count(1)
            return [_measure(shape, size, bench, numbers) for shape in SHAPES]


def fill(settings: Settings) -> None:
    """Customers with a portrait, and one experiment that takes whoever comes."""
    owner, engine = (connect(url, name="bench") for url in (settings.database_url, settings.database_of("experiments")))
    with owner.begin() as connection:
        connection.execute(sa.text(PEOPLE), {"customers": CUSTOMERS})
    with transaction(engine) as db:
        started(db, "online", None, planned_size=CUSTOMERS)
    for each in (owner, engine):
        each.dispose()


@contextmanager
def _empty() -> Iterator[Serving]:
    port = free_port()
    arguments = ["-m", "uvicorn", f"{__name__}:empty", "--port", str(port), "--no-access-log"]
    with process([*arguments, "--log-level", "warning"], port, dict(os.environ)) as serving:
        yield serving


def _measure(shape: Shape, size: float, bench: Bench, numbers: Iterator[int]) -> Row:
    requests = max(int(shape.requests * size), 100)
    runs = []
    for _turn in range(RUNS + 1):
        customers = [f"customer-{next(numbers) if shape.new else 1 + number}" for number in range(requests)]
        runs.append(tuple(_taken(bench, side, shape, customers) for side in (bench.product, bench.floor)))
    pairs = [(product.rate, floor.rate) for product, floor in runs[1:]]  # the first warms up
    return from_pairs(
        shape.subject, "empty FastAPI route", "requests/s", pairs, note=_note(*zip(*runs[1:], strict=True))
    )


def _taken(bench: Bench, side: Serving, shape: Shape, customers: Sequence[str]) -> Taken:
    process_before, sessions_before = cpu_seconds(side.pid), _sessions(bench.database)
    seconds = bench.generator.submit(send, side.url, customers, shape.connections).result()
    process = cpu_seconds(side.pid) - process_before
    sessions = _sessions(bench.database)
    in_postgres = sum(spent - sessions_before.get(pid, 0.0) for pid, spent in sessions.items())
    requests = len(customers)
    return Taken(requests / seconds, process / requests, in_postgres / requests)


def _sessions(database: str) -> dict[int, float]:
    """CPU seconds spent so far by each of the service's sessions, by process id."""
    with psycopg.connect(libpq_url(database)) as connection:
        found = connection.execute("select a.pid from pg_stat_activity as a where a.application_name = %s", [SESSIONS])
        return {pid: cpu_seconds(pid) for (pid,) in found}


def send(url: str, customers: Sequence[str], connections: int) -> float:
    """Seconds for all customers, one request each; raises where one that should have an arm has none."""
    requests = [request(PATH, json.dumps({"customer_id": each, "attributes": {"page": "home"}})) for each in customers]
    seconds, answers = exchange(url, requests, connections)
    told = [answer for answer in map(json.loads, answers) if answer != {}]
    without = [
        answer for answer in told if not all(each["arm"] for each in answer.get("assignments") or [{"arm": None}])
    ]
    if without:
        raise RuntimeError(f"{len(without)} of {len(told)} customers got no arm: {without[0]}")
    return seconds


def _note(product: Sequence[Taken], floor: Sequence[Taken]) -> str:
    """What holds it back: where the time between two answers goes."""
    spent = {
        "its Python": median(run.cpu for run in product),
        "Postgres": median(run.database for run in product),
    }
    nothing = median(run.cpu for run in floor)
    parts = ", ".join(f"{seconds * 1000:.2f} ms in {where}" for where, seconds in spent.items())
    between = 1000 / median(run.rate for run in product)
    return (
        f"CPU of a request: {parts} ({nothing * 1000:.2f} ms in the empty route), of {between:.2f} ms from one answer "
        f"to the next; {max(spent, key=spent.__getitem__)} is the larger part"
    )
