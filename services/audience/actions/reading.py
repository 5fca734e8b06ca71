"""Bodies of bulk calls as numbered rows, in chunks that are bounded by rows and by bytes."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

from services.audience.identity import holds_contact_data
from shared.bodies import ndjson_lines, not_empty, parse_json
from shared.csv_rows import csv_rows
from shared.errors import FieldError, Invalid, Unreadable

CHUNK_ROWS = 5000
CHUNK_BYTES = 4 * 1024 * 1024


class Line(NamedTuple):
    """A row of NDJSON, not read yet."""

    raw: bytes

    def weight(self) -> int:
        return len(self.raw)

    def parsed(self) -> object:
        """The row, or the `FieldError` that says why it is none. Names that hold an address are not repeated."""
        try:
            return parse_json(self.raw)
        except (Unreadable, Invalid) as error:
            place = error.errors[0].pointer if error.errors else ""
            shown = "" if holds_contact_data(place) else place
            return FieldError(shown, error.detail.replace("The body", "The row"))


class Cells(NamedTuple):
    """A row of a CSV file, by column."""

    values: Mapping[str, str]

    def weight(self) -> int:
        return sum(map(len, self.values.values()))


class Damaged(NamedTuple):
    """A row of a CSV file that cannot be read."""

    fault: FieldError

    def weight(self) -> int:
        return 0


class Value(NamedTuple):
    """A row of a JSON list, which is small as a whole."""

    value: object

    def weight(self) -> int:
        return 0


Row = Line | Cells | Damaged | Value
Numbered = tuple[int, Row]
"""(row number from 1, row)."""


def rows_of(format_: Literal["json", "ndjson", "csv"], chunks: Iterable[bytes]) -> Iterator[Numbered]:
    """The rows of a body. Raises `Unreadable` or `Invalid` where it has no rows to judge one by one."""
    if format_ == "csv":
        return not_empty(_cells(chunks))
    if format_ == "ndjson":
        return not_empty((number, Line(line)) for number, line in ndjson_lines(chunks))
    listed = parse_json(b"".join(chunks))
    if not isinstance(listed, list):
        raise Invalid("The body must be a list of rows.", [FieldError("", "must be a list")])
    return not_empty((number, Value(value)) for number, value in enumerate(listed, 1))


def _cells(chunks: Iterable[bytes]) -> Iterator[Numbered]:
    for number, row in csv_rows(chunks, ("customer_id",)):
        yield number, Cells(row.cells) if row.fault is None else Damaged(row.fault)


def in_chunks(rows: Iterable[Numbered]) -> Iterator[list[Numbered]]:
    """Rows in order, at most `CHUNK_ROWS` at a time and not much more than `CHUNK_BYTES`."""
    chunk: list[Numbered] = []
    weight = 0
    for number, row in rows:
        chunk.append((number, row))
        weight += row.weight()
        if len(chunk) == CHUNK_ROWS or weight >= CHUNK_BYTES:
            yield chunk
            chunk, weight = [], 0
    if chunk:
        yield chunk
