"""Reading data files and writing NDJSON, a stretch of lines at a time."""

import csv
import gzip
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TextIO

from services.stack.trouble import Trouble

STRETCH = 2_000  # lines that travel together


@contextmanager
def opened(path: Path) -> Iterator[TextIO]:
    """A text file, gzipped or plain. Raises Trouble when it is neither."""
    with path.open("rb") as file:
        gzipped = file.read(2) == b"\x1f\x8b"
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8", newline="")
            if gzipped
            else path.open(encoding="utf-8", newline="") as text
        ):
            yield text
    except (UnicodeDecodeError, gzip.BadGzipFile, EOFError) as error:
        raise Trouble(f"{path} cannot be read as CSV in UTF-8: {error}") from error


def csv_rows(path: Path, columns: Iterable[str]) -> Iterator[dict[str, str]]:
    """Rows of a CSV file by column, as they are read. Raises Trouble at once when it lacks one of `columns`."""
    with opened(path) as text:
        missing = set(columns) - set(csv.DictReader(text).fieldnames or ())
    if missing:
        raise Trouble(f"{path} is not the file meant here: it has no column {', '.join(sorted(missing))}.")
    return _rows(path)


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with opened(path) as text:
        yield from csv.DictReader(text)


def ndjson(rows: Iterable[Mapping[str, object]]) -> Iterator[bytes]:
    """Rows as NDJSON, in stretches of lines."""
    encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
    iterator = iter(rows)
    while stretch := list(islice(iterator, STRETCH)):
        yield ("\n".join(map(encode, stretch)) + "\n").encode()
