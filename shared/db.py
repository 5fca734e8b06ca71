"""Sessions and transactions. A 2xx means committed; a session takes no connection before its first query."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Annotated
from uuid import UUID

import uuid_utils
from fastapi import Depends, Request
from psycopg import Connection, sql
from psycopg.errors import LockNotAvailable
from sqlalchemy import Engine as Engine
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError
from sqlmodel import Session

from shared.errors import Busy
from shared.settings import sqlalchemy_url

Db = Session
Begin = Callable[[], AbstractContextManager[Db]]
"""Begins a transaction, which ends with the block."""

PATIENCE = text("set local statement_timeout = '30min'; set local lock_timeout = '15min'")
LITTLE_PATIENCE = text("set local lock_timeout = '2s'")
NO_PATIENCE = text("set local statement_timeout to default; set local lock_timeout to default")
WHOLE_SETS = text("set local enable_nestloop = off")

# Who waits holds a connection: together they must leave most of a process's pool to others.
_places_to_wait = threading.BoundedSemaphore(3)


def connect(url: str, *, name: str, pool_size: int = 10) -> Engine:
    """An engine for `url`; `name` is what Postgres shows as the application.

    Statements are never prepared on the server, so that a pooler in transaction mode may stand between.
    """
    return create_engine(
        sqlalchemy_url(url),
        connect_args={"prepare_threshold": None, "application_name": name, "connect_timeout": 5},
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=10,
        pool_pre_ping=True,
        pool_recycle=1800,
        hide_parameters=True,
    )


@contextmanager
def transaction(engine: Engine) -> Iterator[Db]:
    """A writing transaction, committed at the end of the block."""
    with Session(engine, expire_on_commit=False) as db, db.begin():
        yield db


@contextmanager
def read_only(engine: Engine) -> Iterator[Db]:
    """A reading transaction that sees one state throughout and refuses to write."""
    reading = engine.execution_options(postgresql_readonly=True, isolation_level="REPEATABLE READ")
    with Session(reading) as db, db.begin():
        yield db


def be_patient(db: Db) -> None:
    """Statements over whole populations may take their time until the end of the transaction."""
    db.execute(PATIENCE)


@contextmanager
def waiting_for_others(db: Db, *, long: bool = True) -> Iterator[None]:
    """Wait in the block for another transaction, which may be long work; after it the role's own limits hold.

    Only a few in each process wait to the end, the others, and who would not wait `long`, for two seconds. Raises
    `Busy` when that was not enough.
    """
    patient = long and _places_to_wait.acquire(blocking=False)
    try:
        db.execute(PATIENCE if patient else LITTLE_PATIENCE)
        yield
    except OperationalError as error:
        if isinstance(error.orig, LockNotAvailable):
            raise Busy("Another call does what this one waits for; try again.", retry_after=10) from error
        raise
    finally:
        if patient:
            _places_to_wait.release()
    db.execute(NO_PATIENCE)


def take_whole_sets(db: Db) -> None:
    """Join whole sets until the end of the transaction, never row by row.

    Values inside jsonb have no statistics: Postgres expects one customer, and would count all events anew for each.
    """
    db.execute(WHOLE_SETS)


def _engine(request: Request) -> Engine:
    engine: Engine = request.app.state.engine
    return engine


def _writing(engine: "EngineOf") -> Iterator[Db]:
    with transaction(engine) as db:
        yield db


def _reading(engine: "EngineOf") -> Iterator[Db]:
    with read_only(engine) as db:
        yield db


EngineOf = Annotated[Engine, Depends(_engine)]
# scope="function" ends the transaction before the response is sent.
Tx = Annotated[Db, Depends(_writing, scope="function")]
ReadTx = Annotated[Db, Depends(_reading, scope="function")]


def driver(db: Db) -> Connection[tuple[object, ...]]:
    """The psycopg connection beneath a session, inside its transaction."""
    connection: Connection[tuple[object, ...]] = db.connection().connection.driver_connection  # type: ignore[assignment]
    return connection


def copy_rows(db: Db, statement: str, rows: Iterable[Sequence[object]], types: Sequence[str] | None = None) -> int:
    """COPY rows in, within the session's transaction; `statement` is like `copy staging (a, b) from stdin`.

    `types` names the columns' types where Python's own do not say them (needed for `jsonb` or numbers as text).
    Returns how many rows were sent.
    """
    count = 0
    with driver(db).cursor() as cursor, cursor.copy(sql.SQL(statement)) as copy:
        if types:
            copy.set_types(types)
        for row in rows:
            copy.write_row(row)
            count += 1
    return count


def new_id() -> UUID:
    """A UUIDv7: unique, and in the order of its making."""
    return UUID(bytes=uuid_utils.uuid7().bytes)
