"""CSV as it is read everywhere: UTF-8, commas, a header that names each column once."""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from shared.bodies import lines
from shared.errors import FieldError, Invalid, Unreadable

DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "bars"}
"""What files that are called CSV are separated by instead of commas, often by a spreadsheet's own choice."""


class CsvRow(NamedTuple):
    """Cells by header; what is beyond it stands under `""`, what lacks is not there. A row with a `fault` is to be
    refused: some of its bytes are no UTF-8, and stand as lone surrogates."""

    cells: dict[str, str]
    fault: FieldError | None


def csv_rows(chunks: Iterable[bytes], required: Sequence[str]) -> Iterator[tuple[int, CsvRow]]:
    """(1-based row number, row).

    Raises `Unreadable` where the header is missing, repeats a name or is no UTF-8, and `Invalid` where it lacks a
    `required` column: no row could be taken then.
    """
    # Never decoded with replacements: two customers whose names differ in a replaced letter would become one.
    text = (
        line.decode("utf-8" if number else "utf-8-sig", "surrogateescape") + "\n"
        for number, line in enumerate(lines(chunks))
    )
    reader = csv.reader(text)
    try:
        header = next(reader, [])
        if not header or len(set(header)) != len(header) or not _is_text("".join(header)):
            raise Unreadable("The CSV needs a header in UTF-8 that names each column once.")
        _check_columns(header, required)
        for number, fields in enumerate((row for row in reader if row), 1):
            cells = dict(zip(header, fields, strict=False))
            if len(fields) > len(header):
                cells[""] = ",".join(fields[len(header) :])
            yield number, CsvRow(cells, damage(cells))
    except csv.Error as error:
        raise Unreadable(f"The CSV cannot be read: {error}.") from error


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
