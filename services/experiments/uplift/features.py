"""Features of any kind into a design matrix."""

from collections.abc import Mapping, Sequence

from shared.contracts.base import JsonValue


def columns_of(rows: Sequence[Mapping[str, JsonValue]]) -> dict[str, list[JsonValue]]:
    """Turn flat feature objects into columns, sorted by name; None where a row lacks the feature."""
    names = sorted({name for row in rows for name in row})
    return {name: [row.get(name) for row in rows] for name in names}
