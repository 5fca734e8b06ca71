"""Giving every member of a list its arm, against raw COPY of the rows that this makes.

The product is the worker's job from its row in `job` to its result there: reading the list, bucketing or drawing,
writing the assignments, all in one transaction. The floor is one COPY on one connection, with its commit, into a table
with the same columns, key and indexes; it reads no list and decides nothing.
"""

from contextlib import closing
from datetime import UTC, datetime
from uuid import UUID

import psycopg
import sqlalchemy as sa

from services.experiments.actions.assignments import ListPlan
from services.experiments.jobs import jobs
from shared.db import connect, new_id, read_only, transaction
from shared.jobs import JobContext, enqueue, job
from shared.queue import run_job
from shared.settings import Settings, libpq_url
from shared.telemetry import configure_logging
from tests.bench.experiment import started
from tests.bench.installation import installation
from tests.bench.row import RUNS, Row, from_pairs, seconds

MEMBERS = 1_000_000
SPLITS = ("hash", "exact")
NOTES = {
    "hash": "fetching the ids costs about as much as writing the rows, the buckets a few per cent of it",
    "exact": "the same, and the draw waits until it has seen the whole list",
}
CHUNK = 1 << 16
LISTED = """
    insert into audience.list_member (customer_id, list_id, rank, stratum, held_out, probability, features)
    select 'customer-' || lpad(cast(n as text), 8, '0'), :list_id, n, 'stratum-' || n % 5, false, 1,
           jsonb_build_object('age', 18 + n * 7 % 60, 'city', 'city-' || n % 20, 'recency', n * 31 % 365,
                              'frequency', n % 12, 'monetary', n * 17 % 1000)
      from generate_series(1, :members) as n
"""
COLUMNS = "customer_id, experiment_id, arm, t0, probability, stratum, features, source, assigned_at, xid"


def run(size: float) -> list[Row]:
    """Measure both kinds of split; `size` 1 is a million members."""
    members = max(int(MEMBERS * size), 1000)
    with installation() as settings:
        configure_logging(settings, "bench")
        list_id = fill(settings, members)
        engine = connect(settings.database_of("experiments"), name="bench")
        try:
            context = JobContext(engine, settings, {})
            return [measure(context, split, list_id, members) for split in SPLITS]
        finally:
            engine.dispose()


def fill(settings: Settings, members: int) -> UUID:
    """A frozen list, and a table like that of the assignments to copy into."""
    owner, list_id = connect(settings.database_url, name="bench"), new_id()
    with owner.begin() as connection:
        connection.exec_driver_sql("create table experiments.copied (like experiments.assignment including all)")
        connection.execute(sa.text(LISTED), {"list_id": list_id, "members": members})
    with owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("vacuum analyze audience.list_member")
    owner.dispose()
    return list_id


def measure(context: JobContext, split: str, list_id: UUID, members: int) -> Row:
    """One kind of split: a new experiment for every run, after one run to warm up."""
    pairs = [_pair(context, f"{split}-{turn}", split, list_id, members) for turn in range(RUNS + 1)][1:]
    note = f"{members:,} members; {NOTES[split]}"
    return from_pairs(f"assign a list, {split} split", "raw COPY of the same rows", "s", pairs, note=note)


def _pair(context: JobContext, key: str, split: str, list_id: UUID, members: int) -> tuple[float, float]:
    with transaction(context.engine) as db:
        started(db, key, list_id, split=split)
        task = ListPlan(list_id, "0" * 64, members, datetime.now(UTC))
        queued = enqueue(db, "assign-list", {"experiment": key, "task": task.as_json()})
    product = seconds(lambda: run_job(jobs, context._replace(job_id=queued.id)))
    with read_only(context.engine) as db:
        done = job(db, queued.id)
    if done.state != "succeeded":
        raise RuntimeError(f"the job {done.state}: {done.problem}")
    return product, _copied(context.settings.database_url, members)


def _copied(database: str, members: int) -> float:
    """Seconds that COPY takes for the rows just assigned; getting them is not counted. Both tables end empty."""
    with closing(psycopg.connect(libpq_url(database))) as connection, connection.cursor() as cursor:
        with cursor.copy(f"copy (select {COLUMNS} from experiments.assignment order by customer_id) to stdout") as out:
            body = b"".join(bytes(part) for part in out)
        connection.commit()
        took = seconds(lambda: _copy(connection, body))
        stored = cursor.execute("select count(*) from experiments.copied").fetchone()
        if stored != (members,):
            raise RuntimeError(f"{stored} of {members} rows were assigned and copied")
        cursor.execute("truncate experiments.assignment, experiments.copied")
        connection.commit()
    return took


def _copy(connection: "psycopg.Connection[tuple[object, ...]]", body: bytes) -> None:
    with connection.cursor() as cursor, cursor.copy(f"copy experiments.copied ({COLUMNS}) from stdin") as copy:
        for start in range(0, len(body), CHUNK):
            copy.write(body[start : start + CHUNK])
    connection.commit()
