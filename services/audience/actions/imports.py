"""Bulk loads: read, screen, write chunk by chunk, report. A bad row never costs the good ones."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from services.audience.actions import attributes
from services.audience.queries import attributes as catalogue_queries
from services.audience.queries import imports as queries
from services.audience.queries import loading
from services.audience.screening import Refused, Screen, Screened, from_csv
from shared.bodies import chunked, csv_rows, ndjson_lines, parse_json
from shared.contracts.audience import NewAttribute, QualityReport, Refusal
from shared.db import Db, new_id
from shared.errors import DomainError, FieldError, Invalid, Unreadable
from shared.hashing import keyed_hash
from shared.telemetry import log

CHUNK = 5000
MOST_REASONS = 100
ABANDONED_AFTER = timedelta(hours=24)


class Unparsed(NamedTuple):
    """A row that is not even JSON, and why."""

    error: FieldError


class Cells(NamedTuple):
    """A row of a CSV file, by column."""

    values: Mapping[str, str]


Begin = Callable[[], AbstractContextManager[Db]]
"""Begins a writing transaction."""

Numbered = tuple[int, object]
"""(row number from 1, what was read: JSON, `Unparsed` or `Cells`)."""


def rows_of(format_: queries.Format, chunks: Iterable[bytes]) -> Iterator[Numbered]:
    """The rows of a body. Raises `Unreadable` and `Invalid` for a body that has no rows to judge one by one."""
    if format_ == "csv":
        return _cells(chunks)
    if format_ == "ndjson":
        return ((number, _parsed(line)) for number, line in ndjson_lines(chunks))
    listed = parse_json(b"".join(chunks))
    if not isinstance(listed, list):
        raise Invalid("The body must be a list of rows.", [FieldError("", "must be a list")])
    return iter(enumerate(listed, 1))


def _cells(chunks: Iterable[bytes]) -> Iterator[Numbered]:
    for number, row in csv_rows(chunks):
        if number == 1 and "customer_id" not in row:
            raise Invalid("The CSV has no column `customer_id`.", [FieldError("", "no column customer_id")])
        yield number, Cells(row)


def _parsed(line: bytes) -> object:
    try:
        return parse_json(line)
    except (Unreadable, Invalid) as error:
        place = error.errors[0].pointer if error.errors else ""
        return Unparsed(FieldError(place, error.detail.replace("The body", "The row")))


def screen_of(catalogue: Mapping[str, NewAttribute], secret: str) -> Screen:
    """The screen for rows of this catalogue; `secret` keys all hashes."""
    return Screen(catalogue, secret, lambda text: keyed_hash(secret, text).hex()[:32])


class Load:
    """One bulk load under way. Each chunk is a transaction of its own; none is open while the body is read."""

    def __init__(self, begin: Begin, secret: str, format_: queries.Format) -> None:
        self._begin = begin
        self._secret = secret
        self._format = format_
        self._id = new_id()
        self._now = datetime.now(UTC)
        self._rows = self._accepted = self._customers = self._new_customers = 0
        self._reasons: Counter[FieldError] = Counter()
        self._supplemented: dict[str, int] = {}

    def run(self, rows: Iterator[Numbered]) -> QualityReport:
        """Take all rows; whatever stops the load, what it had committed until then stays and its report says so."""
        with self._begin() as db:
            queries.start(db, self._id, self._format, self._now)
        try:
            self._take(rows)
        except Exception as error:
            told = error.detail if isinstance(error, DomainError) else "The load broke off."
            self._finish(problem=told)
            raise
        self._finish()
        log.info("customers loaded", rows=self._rows, accepted=self._accepted, new_customers=self._new_customers)
        with self._begin() as db:
            return queries.report(db, self._id)

    def _take(self, rows: Iterator[Numbered]) -> None:
        chunks = chunked(rows, CHUNK)
        chunk = next(chunks, [])
        while chunk:
            following = next(chunks, [])
            with self._begin() as db:
                self._write(db, chunk, alone=self._rows == 0 and not following)
            chunk = following
        if self._rows > CHUNK:
            with self._begin() as db:
                attributes.fill_gaps(db)
                self._supplemented = loading.supplemented(db, self._id)

    def _write(self, db: Db, chunk: list[Numbered], *, alone: bool) -> None:
        """Screen and write one chunk. A small load is filled at once with what is known; a large one at its end."""
        catalogue = catalogue_queries.catalogue(db, held=True)
        screen = screen_of(catalogue, self._secret)
        screened, refused = _sorted(screen, catalogue, chunk)
        if screened:
            written = loading.write(db, screened, self._now, self._id)
            self._customers += written.customers
            self._new_customers += written.new_customers
            if alone:
                self._supplemented = loading.fill(db, attributes.fill_values(catalogue))
        queries.insert_rejects(db, self._id, refused)
        self._rows += len(chunk)
        self._accepted += len(screened)
        self._reasons.update(error for _, one in refused for error in set(one.errors))
        queries.update(db, self._id, self._counts())

    def _counts(self) -> queries.Counts:
        reasons = [
            Refusal(pointer=error.pointer, detail=error.detail, rows=rows)
            for error, rows in self._reasons.most_common(MOST_REASONS)
        ]
        return queries.Counts(self._rows, self._accepted, self._customers, self._new_customers, reasons)

    def _finish(self, problem: str | None = None) -> None:
        with self._begin() as db:
            queries.finish(db, self._id, datetime.now(UTC), self._supplemented, problem)


def _sorted(
    screen: Screen, catalogue: Mapping[str, NewAttribute], chunk: list[Numbered]
) -> tuple[list[Screened], list[tuple[int, Refused]]]:
    screened, refused = [], []
    for number, read in chunk:
        raw = from_csv(read.values, catalogue) if isinstance(read, Cells) else read
        one = Refused([raw.error], {}) if isinstance(raw, Unparsed) else screen.row(raw)
        if isinstance(one, Screened):
            screened.append(one)
        else:
            refused.append((number, one))
    return screened, refused


def abandon(db: Db) -> None:
    """Loads whose process is gone are marked as failed."""
    now = datetime.now(UTC)
    queries.abandon(db, now - ABANDONED_AFTER, now)
