"""Walking a definition: its clauses with their places."""

from collections.abc import Iterator
from typing import NamedTuple

from shared.contracts.clauses import All, AnyOf, Clause, Not, SegmentClause


class Node(NamedTuple):
    """A clause and its place, a JSON pointer into the definition (the root is the empty string)."""

    path: str
    clause: Clause


def children(node: Node) -> list[Node]:
    """The clauses directly inside a clause, in order."""
    path, clause = node
    if isinstance(clause, All):
        return [Node(f"{path}/all/{index}", inner) for index, inner in enumerate(clause.all)]
    if isinstance(clause, AnyOf):
        return [Node(f"{path}/any/{index}", inner) for index, inner in enumerate(clause.any)]
    return [Node(f"{path}/not", clause.not_)] if isinstance(clause, Not) else []


def walk(definition: Clause, path: str = "") -> Iterator[Node]:
    """Every clause of a definition, outer ones first, in the order in which they are written."""
    node = Node(path, definition)
    yield node
    for child in children(node):
        yield from walk(child.clause, child.path)


def references(definition: Clause) -> list[tuple[str, str]]:
    """The segments that a definition names: (place of the clause, key or id)."""
    return [(path, clause.segment) for path, clause in walk(definition) if isinstance(clause, SegmentClause)]
