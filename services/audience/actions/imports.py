"""Bulk loads: read, screen, write chunk by chunk, report. A bad row never costs the good ones."""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

from services.audience.actions import attributes
from services.audience.actions.reading import Cells, Damaged, Line, Numbered, Row, in_chunks
from services.audience.queries import attributes as catalogue_queries
from services.audience.queries import imports as queries
from services.audience.queries import loading
from services.audience.screening import Refused, Screen, Screened, by_column, from_csv
from shared.contracts.audience import NewAttribute, QualityReport, Refusal
from shared.db import Begin, Db, new_id
from shared.errors import DomainError, FieldError
from shared.hashing import keyed_hash
from shared.jobs import enqueue
from shared.telemetry import log

MOST_REASONS = 100
DIFFERENT_REASONS = 5000  # kept while a load runs: every row may be wrong in a way of its own
OTHER = FieldError("", "other reasons (the rejects name them)")
ABANDONED_AFTER = timedelta(hours=24)


def screen_of(catalogue: Mapping[str, NewAttribute], secret: str) -> Screen:
    """The screen for rows of this catalogue; `secret` keys all hashes."""
    return Screen(catalogue, secret, lambda text: keyed_hash(secret, text).hex()[:32], datetime.now(UTC))


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
        """Small loads are filled at once with what gaps are filled with; large ones may change that, at their end."""
        changes = False
        for number, chunk in enumerate(in_chunks(rows), 1):
            with self._begin() as db:
                changes |= self._write(db, chunk) or number > 1
        if changes:
            self._fill_gaps()

    def _fill_gaps(self) -> None:
        """The rows are committed by now: what keeps gaps from being filled is no failure of the load, a job does it."""
        try:
            with catalogue_queries.filling():
                attributes.fill_gaps(self._begin)
            with self._begin() as db:
                self._supplemented = loading.supplemented(db, self._id)
        except catalogue_queries.NotFilled as error:
            log.warning("gaps are left to a job", reason=str(error))
            with self._begin() as db:
                enqueue(db, attributes.SUPPLEMENT_JOB, {})

    def _write(self, db: Db, chunk: list[Numbered]) -> bool:
        """Screen and write one chunk. True when it is the first to bring values that gaps can be filled with."""
        catalogue = catalogue_queries.catalogue(db, held=True)
        screened, refused = _sorted(screen_of(catalogue, self._secret), catalogue, chunk)
        if screened:
            written = loading.write(db, screened, self._now, self._id)
            self._customers += written.customers
            self._new_customers += written.new_customers
            self._supplemented = loading.fill(db, attributes.fill_values(catalogue))
        queries.insert_rejects(db, self._id, refused)
        self._rows += len(chunk)
        self._accepted += len(screened)
        for _, one in refused:
            for error in set(one.errors):
                known = error in self._reasons or len(self._reasons) < DIFFERENT_REASONS
                self._reasons[error if known else OTHER] += 1
        queries.update(db, self._id, self._counts())
        awaited = attributes.awaiting_values(catalogue)
        return any(not awaited.isdisjoint(row.attributes) for row in screened)

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
    for number, row in chunk:
        raw = _read(row, catalogue)
        one = Refused([raw], {}) if isinstance(raw, FieldError) else screen.row(raw)
        if isinstance(one, Screened):
            screened.append(one)
        elif isinstance(row, Cells):
            refused.append((number, one._replace(errors=[by_column(error, row.values) for error in one.errors])))
        else:
            refused.append((number, one))
    return screened, refused


def _read(row: Row, catalogue: Mapping[str, NewAttribute]) -> object:
    if isinstance(row, Line):
        return row.parsed()
    if isinstance(row, Damaged):
        return row.fault
    return from_csv(row.values, catalogue) if isinstance(row, Cells) else row.value


def abandon(db: Db) -> None:
    """Loads whose process is gone are marked as failed."""
    now = datetime.now(UTC)
    queries.abandon(db, now - ABANDONED_AFTER, now)
