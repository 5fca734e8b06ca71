"""Events acknowledged per second by one process over real HTTP, against raw COPY of the same rows.

The floor is one COPY, on one connection, into a table with the same columns, key and indexes; it judges nothing, tells
nobody and commits once. The load generator is a process of its own on the same machine and shares its cores.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psycopg

from services.stack.postgres import EmbeddedPostgres, free_port
from shared.migrate import migrate
from shared.settings import Settings, libpq_url
from tests.bench.row import RUNS, Row, from_pairs

KEY = "bench-key"
FULL = 100_000  # events in one run of batches; a fifth of that where they come one by one
COLUMNS = (
    "customer_id, event_id, kind, category, occurred_at, received_at, value, currency, properties, campaign, batch_id"
)


class Shape(NamedTuple):
    """How events are sent: so many in a request, over so many connections."""

    subject: str
    batch: int
    clients: int
    share: float = 1.0
    note: str = ""


SHAPES = (
    Shape("events in batches of 100", 100, 4),
    Shape("events in batches of 500", 500, 4),
    Shape("single events from 32 clients", 1, 32, share=0.2),
    Shape("NDJSON of all events", 0, 1, note="one streamed body, committed in chunks"),
)


def run(size: float) -> list[Row]:
    """Measure every shape; `size` 1 is the full size."""
    with _stack() as (url, database), ProcessPoolExecutor(1, mp_context=get_context("spawn")) as generator:
        return [_measure(shape, size, url, database, generator) for shape in SHAPES]


def _measure(shape: Shape, size: float, url: str, database: str, generator: ProcessPoolExecutor) -> Row:
    events = max(int(FULL * shape.share * size), 1000)
    pairs = []
    for turn in range(RUNS + 1):
        made = [_event(f"{shape.batch}-{turn}", number) for number in range(events)]
        product = events / generator.submit(send, url, shape, made).result()
        floor = events / _copy(database, made)
        if turn:  # the first warms up
            pairs.append((product, floor))
    return from_pairs(shape.subject, "raw COPY", "events/s", pairs, note=shape.note)


def _event(prefix: str, number: int) -> dict[str, Any]:
    return {
        "event_id": f"{prefix}-{number:07d}",
        "customer_id": f"customer-{number * 7919 % 100_000}",
        "kind": "order_line",
        "occurred_at": f"2024-05-{1 + number % 28:02}T12:00:00Z",
        "value": f"{1 + number % 5000 / 100:.2f}",
        "currency": "EUR",
        "properties": {"order_id": f"o{number // 3}", "category": f"k{number % 40}", "quantity": 1 + number % 5},
        "campaign": "spring-sale",
    }


def _copy(database: str, events: Sequence[dict[str, Any]]) -> float:
    """Seconds that raw COPY takes for the same rows; making the rows is not counted."""
    lines = ["\t".join(_row(event)) for event in events]
    body = "\n".join([*lines, ""]).encode()
    with psycopg.connect(database) as connection:
        started = time.perf_counter()
        with connection.cursor() as cursor, cursor.copy(f"copy feedback.copied ({COLUMNS}) from stdin") as copy:
            for start in range(0, len(body), 65536):
                copy.write(body[start : start + 65536])
        connection.commit()
        return time.perf_counter() - started


def _row(event: dict[str, Any]) -> list[str]:
    """The columns of `COLUMNS`; nothing in these events needs escaping."""
    identity = [event["customer_id"], event["event_id"], event["kind"], event["properties"]["category"]]
    figures = [event["occurred_at"], event["occurred_at"], event["value"], event["currency"]]
    return [*identity, *figures, json.dumps(event["properties"]), event["campaign"], "1"]


def send(url: str, shape: Shape, events: Sequence[dict[str, Any]]) -> float:
    """Seconds from the first byte sent to the last verdict received; raises where a verdict is not `accepted`."""
    if not shape.batch:
        requests = [_request("\n".join(map(json.dumps, events)), "application/x-ndjson")]
    elif shape.batch == 1:
        requests = [_request(json.dumps(event), "application/json") for event in events]
    else:
        starts = range(0, len(events), shape.batch)
        requests = [_request(json.dumps(events[start : start + shape.batch]), "application/json") for start in starts]
    address = httpx.URL(url)
    accepted: list[int] = []
    shares = [requests[client :: shape.clients] for client in range(shape.clients)]
    threads = [
        threading.Thread(target=_client, args=((address.host, address.port), share, accepted)) for share in shares
    ]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - started
    if sum(accepted) != len(events):
        raise RuntimeError(f"{sum(accepted)} of {len(events)} events were accepted")
    return took


def _request(body: str, kind: str) -> bytes:
    content = body.encode()
    head = (
        f"POST /v1/events HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {KEY}\r\n"
        f"Content-Type: {kind}\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


def _client(address: tuple[str, int], requests: Sequence[bytes], accepted: list[int]) -> None:
    """One connection that sends a request after the other has been answered."""
    with socket.create_connection(address) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        answers = connection.makefile("rb")
        for request in requests:
            connection.sendall(request)
            length = 0
            while (line := answers.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            accepted.append(json.loads(answers.read(length)).get("accepted", 0))


@contextmanager
def _stack() -> Iterator[tuple[str, str]]:
    """A Postgres of our own and one feedback process: (its address, the database's)."""
    directory = Path(tempfile.mkdtemp(prefix="attune-bench-"))
    postgres = EmbeddedPostgres(directory / "postgres", free_port(), "attune-bench")
    postgres.start()
    try:
        port = free_port()
        settings = Settings(
            database_url=postgres.url, secret="bench", bootstrap_key=KEY, port=port, log_level="warning"
        )
        migrate(settings)
        with psycopg.connect(libpq_url(postgres.url)) as connection:
            connection.execute("create table feedback.copied (like feedback.event including all)")
        with _process(settings) as url:
            yield url, libpq_url(postgres.url)
    finally:
        postgres.stop()
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def _process(settings: Settings) -> Iterator[str]:
    given = {name: value for name, value in os.environ.items() if not name.startswith("ATTUNE_")}
    names = ("database_url", "secret", "bootstrap_key", "port", "log_level")
    given |= {f"ATTUNE_{name.upper()}": str(getattr(settings, name)) for name in names}
    process = subprocess.Popen([sys.executable, "-m", "services.feedback", "serve"], env=given)
    url = f"http://127.0.0.1:{settings.port}"
    try:
        for _attempt in range(300):
            try:
                httpx.get(f"{url}/readyz").raise_for_status()
                break
            except httpx.HTTPError:
                time.sleep(0.1)
        else:
            raise RuntimeError("feedback did not start")
        yield url
    finally:
        process.terminate()
        process.wait(20)
