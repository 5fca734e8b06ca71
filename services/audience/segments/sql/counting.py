"""Statements that count without listing: the preview of a definition, and how much segments share."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from services.audience.segments.catalogue import Catalogue
from services.audience.segments.sql.compiler import Universe, universe
from services.audience.segments.sql.operands import Condition
from services.audience.segments.tree import Node, children, walk
from shared.contracts.clauses import All, AttributeClause, Clause, Not, TraitClause
from shared.contracts.comparisons import COMPLEMENTS

BUCKETS = 64  # of members by a hash of their id; the first id of each makes the sample


class Counted(NamedTuple):
    """A figure that the preview counts: of a clause, or of those of its customers who have no value."""

    path: str
    missing: bool


class PreviewSelect(NamedTuple):
    """One pass over all customers. Rows: (bucket, customers, first, *figures); bucket is null for who is not meant."""

    select: sa.Select[Any]
    figures: list[Counted]


def preview_select(definition: Clause, as_of: datetime, catalogue: Catalogue) -> PreviewSelect:
    """Count, clause by clause. Each leaf is decided once per customer; groups are made of what the leaves said."""
    everyone = universe([definition], as_of, catalogue)
    decided = _Decided(everyone, definition)
    conditions = [(Counted(path, False), decided.condition(Node(path, clause))) for path, clause in walk(definition)]
    conditions += [(Counted(node.path, True), lacking) for node, lacking in decided.lacking()]
    root = conditions[0][1]
    hashed = sa.func.hashtextextended(decided.rows.c.customer_id, 0).op("&")(sa.literal_column(str(BUCKETS - 1)))
    bucket = sa.case((root, hashed)).label("bucket")
    figures = [sa.func.count().filter(condition) for _, condition in conditions]
    select = sa.select(bucket, sa.func.count(), sa.func.min(decided.rows.c.customer_id), *figures).group_by(bucket)
    return PreviewSelect(select, [counted for counted, _ in conditions])


class _Decided:
    """The leaves of a definition as columns `l0`, `l1` … of one row for each customer."""

    def __init__(self, everyone: Universe, definition: Clause) -> None:
        self._nodes = list(walk(definition))
        leaves = [node for node in self._nodes if not children(node)]
        self._column = {node.path: f"l{index}" for index, node in enumerate(leaves)}
        columns = [everyone.condition(leaf.clause).label(self._column[leaf.path]) for leaf in leaves]
        self._absent: dict[str, str] = {}
        for leaf in leaves:
            absent = everyone.missing(leaf.clause)
            if absent is not None:
                self._absent[leaf.path] = f"m{len(self._absent)}"
                columns.append(absent.label(self._absent[leaf.path]))
        # `offset 0` keeps Postgres from deciding a leaf anew wherever it is counted.
        inner = everyone.select(everyone.customer_id, *columns).offset(sa.literal_column("0"))
        self.rows = inner.subquery("decided")

    def condition(self, node: Node) -> Condition:
        inner = [self.condition(child) for child in children(node)]
        if not inner:
            return self.rows.c[self._column[node.path]]
        if isinstance(node.clause, Not):
            return sa.not_(inner[0])
        return sa.and_(*inner) if isinstance(node.clause, All) else sa.or_(*inner)

    def lacking(self) -> list[tuple[Node, Condition]]:
        """Of whom a complement holds because nothing is known: `ne`, `not_in`, and `not` of a comparison."""
        found = []
        for node in self._nodes:
            leaf = children(node)[0] if isinstance(node.clause, Not) else node
            compared = leaf.clause
            if not isinstance(compared, AttributeClause | TraitClause):
                continue
            if (compared.is_ in COMPLEMENTS) is not (leaf is node):
                continue
            absent = self.rows.c[self._absent[leaf.path]]
            found.append((node, sa.and_(self.condition(node), absent)))
        return found


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
