"""CSV as it is read everywhere: UTF-8, commas, a header that names each column once."""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from shared.bodies import lines
from shared.errors import FieldError, Invalid, Unreadable

DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "bars"}
"""What files that are called CSV are separated by instead of commas, often by a spreadsheet's own choice."""

MOST_SHOWN = 1000


class CsvRow(NamedTuple):
    """Cells by header; what is beyond it stands under `""`, what lacks is not there. A row with a `fault` is to be
    refused: some of its bytes are no UTF-8, and stand as lone surrogates, or its quotes do not match, and it stands
    under `""` as it came, cut after `MOST_SHOWN` characters."""

    cells: dict[str, str]
    fault: FieldError | None


class _Lines:
    """The lines of a file as text, and what was read of it since the record began that is being read."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._lines = lines(chunks)
        self._read = 0
        self.record: list[str] = []

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        # Never decoded with replacements: two customers whose names differ in a replaced letter would become one.
        line = next(self._lines).decode("utf-8" if self._read else "utf-8-sig", "surrogateescape") + "\n"
        self._read += 1
        self.record.append(line)
        return line

    def begin(self) -> None:
        self.record = []

    def place(self) -> str:
        """Which lines the record takes up, counted from 1 as an editor counts them."""
        first = self._read - len(self.record) + 1
        return f"line {first}" if len(self.record) == 1 else f"lines {first} to {self._read}"


def csv_rows(chunks: Iterable[bytes], required: Sequence[str]) -> Iterator[tuple[int, CsvRow]]:
    """(1-based row number, row).

    Raises `Unreadable` where the header is missing, repeats a name or is no UTF-8, and `Invalid` where it lacks a
    `required` column: no row could be taken then.
    """
    source = _Lines(chunks)
    reader = csv.reader(source, strict=True)
    header = _header(reader, required)
    number, doubtful = 0, False
    while True:
        source.begin()
        try:
            fields = next(reader, None)
            broken = None if fields is None else _mismatch(source, fields, header, doubtful)
        except csv.Error as error:
            fields, broken = [], _told(error, source)
            # Past the end of such a record nobody can be sure whether a line begins a row or goes on with a text.
            doubtful |= len(source.record) > 1 or source.record[0].count('"') % 2 == 1
        if fields is None:
            return
        if not fields and broken is None:  # a blank line
            continue
        number += 1
        if broken is not None:
            yield number, CsvRow({"": "".join(source.record)[:MOST_SHOWN]}, FieldError("", broken))
            continue
        cells = dict(zip(header, fields, strict=False))
        if len(fields) > len(header):
            cells[""] = ",".join(fields[len(header) :])
        yield number, CsvRow(cells, damage(cells))


def _header(reader: Iterator[list[str]], required: Sequence[str]) -> list[str]:
    try:
        header = next(reader, [])
    except csv.Error as error:
        raise Unreadable(f"The CSV's header cannot be read: {error}.") from error
    if not header or len(set(header)) != len(header) or not _is_text("".join(header)):
        raise Unreadable("The CSV needs a header in UTF-8 that names each column once.")
    _check_columns(header, required)
    return header


def _told(error: csv.Error, source: _Lines) -> str:
    """What broke a record, and how much of the file is refused with it."""
    if len(source.record) == 1:
        return f"{source.place()} cannot be read: {error}"
    return f"{source.place()} were not read: a quote opens in the first of them and is not closed where a cell ends"


def _mismatch(source: _Lines, fields: Sequence[str], header: Sequence[str], doubtful: bool) -> str | None:
    """Why a record that can be read is refused all the same: what its quotes meant is not sure."""
    if len(source.record) > 1 and all(line.count(",") == len(header) - 1 for line in source.record):
        return (
            f"{source.place()} stand in one pair of quotes, and each looks like a row: mend the quotes, or send text "
            "of several lines as NDJSON"
        )
    if doubtful and fields and (len(fields) != len(header) or any('"' in field for field in fields)):
        return f"{source.place()} may be part of a text, as quotes before do not match"
    return None


def _check_columns(header: Sequence[str], required: Sequence[str]) -> None:
    missing = [column for column in required if column not in header]
    if not missing:
        return
    hint = ""
    if len(header) == 1:
        found = next((name for mark, name in DELIMITERS.items() if mark in header[0]), None)
        hint = f" Its header is separated by {found}; CSV is read here with commas." if found else ""
    named = ", ".join(f"`{column}`" for column in missing)
    several = "s" if len(missing) > 1 else ""
    raise Invalid(f"The CSV has no column{several} {named}.{hint}", [FieldError("", f"no column {c}") for c in missing])


def damage(cells: Mapping[str, str]) -> FieldError | None:
    """Where a row, whose header is text, holds bytes that are no UTF-8; None where it is text too."""
    if _is_text("".join(cells.values())):
        return None
    column = next(column for column, cell in cells.items() if not _is_text(cell))
    place = column.replace("~", "~0").replace("/", "~1")
    return FieldError(f"/{place}" if place else "", "is not UTF-8: save the file in that encoding")


def _is_text(cell: str) -> bool:
    try:
        cell.encode()
    except UnicodeEncodeError:
        return False
    return True
