"""Evaluating definitions: counting, listing, and what is known of one customer."""

import json
from datetime import datetime
from decimal import Decimal
from time import perf_counter
from typing import Any, NamedTuple

import psycopg
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import ClauseElement, Executable

from services.audience.permission import Statement
from services.audience.queries.permission import SAID
from services.audience.segments.catalogue import Catalogue
from services.audience.segments.match import Portrait, TraitValue
from services.audience.segments.measures import SeenEvent
from services.audience.segments.sql import Counted, Preview, members_select, overlap_select
from services.audience.segments.sql.tables import customer, event
from services.audience.segments.tree import children, walk
from shared.contracts.clauses import Clause, EventClause
from shared.contracts.permissions import ConsentState
from shared.db import Db, take_whole_sets
from shared.errors import NotFound

SAID_OF = sa.text(f"""
    select nullif(s.brand, '*') as brand, nullif(s.channel, '*') as channel, nullif(s.purpose, '*') as purpose,
           s.state, s.at, s.expires_at
      from {SAID} as s
     where s.customer_id = :customer
""")  # noqa: S608
LIMIT_TIME = sa.text("select set_config('statement_timeout', cast(:ms as text), true)")


class Counts(NamedTuple):
    """What a preview found. `clauses` are (path, count, missing) in the order of the definition."""

    known: int
    members: int
    sample: list[str]
    clauses: list[tuple[str, int, int | None]]
    sql_ms: float


class Meant(NamedTuple):
    """A definition with all it needs to be decided."""

    definition: Clause
    as_of: datetime
    catalogue: Catalogue


class TooSlow(Exception):
    """Counting was ended by its time limit; `path` is the clause that Postgres expects to cost most."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


def preview(db: Db, definition: Clause, as_of: datetime, catalogue: Catalogue, timeout_ms: int) -> Counts:
    """Count all customers by what a definition says. Raises `TooSlow`."""
    asked = Preview(definition, as_of, catalogue)
    try:
        with db.begin_nested():
            db.execute(LIMIT_TIME, {"ms": timeout_ms})
            take_whole_sets(db)
            begun = perf_counter()
            rows = db.execute(asked.select).all()
            sql_ms = (perf_counter() - begun) * 1000
    except OperationalError as error:
        if isinstance(error.orig, psycopg.errors.QueryCanceled):
            raise TooSlow(_slowest(db, definition, as_of, catalogue)) from error
        raise
    found = asked.tally(rows)
    paths = [path for path, _ in walk(definition)]
    clauses = [(path, found.figures[Counted(path, False)], found.figures.get(Counted(path, True))) for path in paths]
    return Counts(found.known, clauses[0][1], found.sample, clauses, sql_ms)


class _Explained(Executable, ClauseElement):
    inherit_cache = False

    def __init__(self, statement: sa.Select[Any]) -> None:
        self.statement = statement


@compiles(_Explained)
def _compiled(element: _Explained, compiler: SQLCompiler, **options: Any) -> str:
    return f"explain (format json) {compiler.process(element.statement, **options)}"


def _slowest(db: Db, definition: Clause, as_of: datetime, catalogue: Catalogue) -> str:
    """The leaf that by itself would cost most to count, by Postgres's estimate, as a JSON pointer."""
    costs = {}
    for node in walk(definition):
        if not children(node):
            plan = db.execute(_Explained(Preview(node.clause, as_of, catalogue).select)).scalar_one()
            costs[node.path] = plan[0]["Plan"]["Total Cost"]
    return max(costs, key=lambda path: costs[path])


def members(db: Db, meant: Meant, after: str | None, limit: int) -> list[str]:
    """Members in the order of their ids, those after `after`."""
    found = members_select(*meant).subquery("members")
    ordered = sa.select(found.c.customer_id).order_by(found.c.customer_id).limit(limit)
    if after is not None:
        ordered = ordered.where(found.c.customer_id > after)
    take_whole_sets(db)
    return [row.customer_id for row in db.execute(ordered)]


def overlap(db: Db, definitions: list[Clause], as_of: datetime, catalogue: Catalogue) -> tuple[list[int], list[int]]:
    """(members of each definition, members that each but the first shares with the first)."""
    take_whole_sets(db)
    figures = list(db.execute(overlap_select(definitions, as_of, catalogue)).one())
    return figures[: len(definitions)], figures[len(definitions) :]


def portrait(db: Db, customer_id: str, definitions: list[Clause], as_of: datetime) -> Portrait:
    """What definitions can look at in one customer. Raises `NotFound` for who is not known (any more)."""
    found = customer.c
    columns = [sa.cast(column, sa.Text).label(column.name) for column in (found.attributes, found.filled, found.traits)]
    known = sa.select(*columns, found.profiling).where(found.customer_id == customer_id, found.erased_at.is_(None))
    row = db.execute(known).one_or_none()
    if row is None:
        raise NotFound("There is no such customer.")
    traits = {
        name: TraitValue(one["value"], datetime.fromisoformat(one["computed_at"]))
        for name, one in _exact(row.traits).items()
    }
    clauses = (clause for definition in definitions for _, clause in walk(definition))
    kinds = sorted({clause.event for clause in clauses if isinstance(clause, EventClause)})
    return Portrait(
        attributes=_exact(row.attributes),
        filled=_exact(row.filled),
        traits=traits,
        events=_events(db, customer_id, kinds, as_of) if kinds else [],
        statements=_statements(db, customer_id),
        profiling=row.profiling,
    )


def _exact(text: str) -> dict[str, Any]:
    """JSON with its numbers as Postgres keeps and compares them."""
    found: dict[str, Any] = json.loads(text, parse_float=Decimal)
    return found


def _events(db: Db, customer_id: str, kinds: list[str], as_of: datetime) -> list[SeenEvent]:
    names = ("event_id", "kind", "occurred_at", "value", "category", "currency", "campaign")
    columns = [*(event.c[name] for name in names), sa.cast(event.c.properties, sa.Text).label("properties")]
    wanted = (event.c.customer_id == customer_id, event.c.kind.in_(kinds), event.c.occurred_at < as_of)
    rows = db.execute(sa.select(*columns).where(*wanted)).mappings()
    return [SeenEvent(**{**row, "properties": _exact(row["properties"] or "{}")}) for row in rows]


def _statements(db: Db, customer_id: str) -> list[Statement]:
    rows = db.execute(SAID_OF, {"customer": customer_id}).mappings()
    return [Statement(**{**row, "state": ConsentState(row["state"])}) for row in rows]
