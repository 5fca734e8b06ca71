"""Statements that count without listing: the preview of a definition, and how much segments share.

A preview wants a count for every clause, and a leaf may cost a microsecond, so each leaf is decided once for each
customer. With few leaves, customers are grouped by what the leaves say: Postgres can share that work among its
processes, and what the clauses above say follows from the few groups. With many leaves there would be too many groups;
then the leaves are columns of a subquery and every clause is counted by itself.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from services.audience.segments.catalogue import Catalogue
from services.audience.segments.sql.compiler import Universe, universe
from services.audience.segments.sql.operands import Condition
from services.audience.segments.tree import Node, children, walk
from shared.contracts.clauses import All, AttributeClause, Clause, Not, TraitClause
from shared.contracts.comparisons import COMPLEMENTS

GROUPED = 8  # leaves at most that customers are grouped by: 256 groups, times the buckets
SAMPLE = 20


class Counted(NamedTuple):
    """A figure of a preview: how many satisfy a clause, or how many of them have no value (`missing`)."""

    path: str
    missing: bool


class Tally(NamedTuple):
    """What a preview found: all customers there are, its figures, and ids of some members, in order."""

    known: int
    figures: dict[Counted, int]
    sample: list[str]


class Preview:
    """A definition to be counted: run `select`, and give all its rows to `tally`."""

    def __init__(self, definition: Clause, as_of: datetime, catalogue: Catalogue) -> None:
        self._nodes = list(walk(definition))
        self._lacking = [(node, leaf) for node in self._nodes if (leaf := _leaf_that_may_lack(node))]
        everyone = universe([definition], as_of, catalogue)
        columns = self._columns(everyone)
        self._names = list(columns)
        self._grouped = len(columns) <= GROUPED
        self.select = self._by_group(everyone, columns) if self._grouped else self._one_by_one(everyone, columns)

    def _columns(self, everyone: Universe) -> dict[str, Condition]:
        """What every leaf says by the name `path`, and by `path?` whether the leaf has nothing to compare."""
        columns = {node.path: everyone.condition(node.clause) for node in self._nodes if not children(node)}
        for _, leaf in self._lacking:
            absent = everyone.missing(leaf.clause)
            assert absent is not None, "attributes and traits can be missing"
            columns[f"{leaf.path}?"] = absent
        return columns

    def _by_group(self, everyone: Universe, columns: dict[str, Condition]) -> sa.Select[Any]:
        """Rows: (customers, first of them, *what the leaves say)."""
        keys = list(columns.values())
        select = everyone.select(sa.func.count(), sa.func.min(everyone.customer_id), *keys)
        return select.group_by(*keys, _bucket(everyone.customer_id))

    def _one_by_one(self, everyone: Universe, columns: dict[str, Condition]) -> sa.Select[Any]:
        """Rows: (customers, first of them, whether they are meant, *figures)."""
        named = {path: f"l{index}" for index, path in enumerate(columns)}
        labelled = [condition.label(named[path]) for path, condition in columns.items()]
        # `offset 0` keeps Postgres from deciding a leaf anew wherever it is counted.
        inner = everyone.select(everyone.customer_id, *labelled).offset(sa.literal_column("0")).subquery("decided")
        said: dict[str, Any] = {path: inner.c[name] for path, name in named.items()}
        conditions = [_holding(node, said) for node in self._nodes]
        conditions += [sa.and_(_holding(node, said), said[f"{leaf.path}?"]) for node, leaf in self._lacking]
        meant = conditions[0]
        figures: list[Any] = [sa.func.count(), sa.func.min(inner.c.customer_id), meant]
        figures += [sa.func.count().filter(condition) for condition in conditions]
        return sa.select(*figures).group_by(meant, _bucket(inner.c.customer_id))

    def tally(self, rows: Iterable[Sequence[Any]]) -> Tally:
        """The figures of all clauses from the rows of `select`."""
        names = [Counted(node.path, False) for node in self._nodes]
        names += [Counted(node.path, True) for node, _ in self._lacking]
        known, totals, sample = 0, [0] * len(names), []
        for row in rows:
            meant, figures = self._decided(row) if self._grouped else (row[2], row[3:])
            known += row[0]
            totals = [total + figure for total, figure in zip(totals, figures, strict=True)]
            if meant:
                sample.append(row[1])
        return Tally(known, dict(zip(names, totals, strict=True)), sorted(sample)[:SAMPLE])

    def _decided(self, row: Sequence[Any]) -> tuple[bool, list[int]]:
        said = dict(zip(self._names, row[2:], strict=True))
        holds = {node.path: _holds(node, said) for node in self._nodes}
        figures = [row[0] * holds[node.path] for node in self._nodes]
        figures += [row[0] * (holds[node.path] and said[f"{leaf.path}?"]) for node, leaf in self._lacking]
        return holds[""], figures


def _bucket(customer_id: sa.ColumnElement[str]) -> sa.ColumnElement[int]:
    """One of 16 parts of all customers, whose first members make the sample. Postgres keeps statistics of it."""
    return sa.func.hashtext(customer_id).op("&")(sa.literal_column("15"))


def _leaf_that_may_lack(node: Node) -> Node | None:
    """For a complement (`ne`, `not_in`, or `not` of a comparison): the leaf whose value may be missing."""
    leaf = children(node)[0] if isinstance(node.clause, Not) else node
    if not isinstance(leaf.clause, AttributeClause | TraitClause):
        return None
    return leaf if (leaf.clause.is_ in COMPLEMENTS) is (leaf is node) else None


def _holds(node: Node, said: dict[str, bool]) -> bool:
    """Whether a clause holds, from what the leaves say."""
    inner = [_holds(child, said) for child in children(node)]
    if not inner:
        return said[node.path]
    if isinstance(node.clause, Not):
        return not inner[0]
    return all(inner) if isinstance(node.clause, All) else any(inner)


def _holding(node: Node, said: dict[str, Any]) -> Condition:
    """The same in SQL."""
    inner = [_holding(child, said) for child in children(node)]
    if not inner:
        found: Condition = said[node.path]
        return found
    if isinstance(node.clause, Not):
        return sa.not_(inner[0])
    return sa.and_(*inner) if isinstance(node.clause, All) else sa.or_(*inner)


def overlap_select(definitions: Sequence[Clause], as_of: datetime, catalogue: Catalogue) -> sa.Select[Any]:
    """One row: for each definition its members; then, for each but the first, those it shares with the first."""
    everyone = universe(definitions, as_of, catalogue)
    flags = [everyone.condition(definition).label(f"d{index}") for index, definition in enumerate(definitions)]
    rows = everyone.select(*flags).offset(sa.literal_column("0")).subquery("decided")
    members = [rows.c[f"d{index}"] for index in range(len(definitions))]
    sizes = [sa.func.count().filter(member) for member in members]
    shared = [sa.func.count().filter(sa.and_(members[0], other)) for other in members[1:]]
    figures: list[Any] = [*sizes, *shared]
    return sa.select(*figures)
