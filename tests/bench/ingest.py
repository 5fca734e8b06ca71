"""Events acknowledged per second by one process over real HTTP, against raw COPY of the same rows.

The floor is one COPY, on one connection, into a table with the same columns, key and indexes; it judges nothing, tells
nobody and commits once. The load generator is a process of its own on the same machine and shares its cores.
"""

import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

import psycopg

from shared.settings import libpq_url
from tests.bench.installation import installation, service
from tests.bench.load import exchange, generator, request
from tests.bench.row import RUNS, Row, from_pairs

PATH = "/v1/events"
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
    with _stack() as (url, database), generator() as pool:
        return [_measure(shape, size, url, database, pool) for shape in SHAPES]


def _measure(shape: Shape, size: float, url: str, database: str, pool: ProcessPoolExecutor) -> Row:
    events = max(int(FULL * shape.share * size), 1000)
    pairs = []
    for turn in range(RUNS + 1):
        made = [_event(f"{shape.batch}-{turn}", number) for number in range(events)]
        product = events / pool.submit(send, url, shape, made).result()
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
        requests = [request(PATH, "\n".join(map(json.dumps, events)), "application/x-ndjson")]
    elif shape.batch == 1:
        requests = [request(PATH, json.dumps(event)) for event in events]
    else:
        starts = range(0, len(events), shape.batch)
        requests = [request(PATH, json.dumps(events[start : start + shape.batch])) for start in starts]
    took, answers = exchange(url, requests, shape.clients)
    accepted = sum(json.loads(answer).get("accepted", 0) for answer in answers)
    if accepted != len(events):
        raise RuntimeError(f"{accepted} of {len(events)} events were accepted")
    return took


@contextmanager
def _stack() -> Iterator[tuple[str, str]]:
    """A Postgres of our own and one feedback process: (its address, the database's)."""
    with installation() as settings:
        database = libpq_url(settings.database_url)
        with psycopg.connect(database) as connection:
            connection.execute("create table feedback.copied (like feedback.event including all)")
        with service("feedback", settings) as serving:
            yield serving.url, database
