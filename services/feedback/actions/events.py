"""Taking events in, in each of the forms in which they come."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime

from services.feedback.actions.intake import REJECTED, Intake, Source, Tally, admitted
from services.feedback.doors import Item, Parsed, Refusal, native
from services.feedback.events import problems
from services.feedback.writer import Verdict
from shared.contracts.feedback import Event, IngestReport
from shared.errors import Conflict, DomainError, FieldError, Invalid, TooLarge, Unreadable
from shared.telemetry import log


class EventConflict(Conflict):
    """The customer has another event under this id."""

    code = "event-conflict"


def take_list(intake: Intake, body: bytes, source: Source) -> IngestReport:
    """Take in a JSON list, all in one transaction. Raises `Unreadable`."""
    tally = Tally(source)
    try:
        parsed = native.many(body)
    except Unreadable as error:
        intake.keep([_unreadable(body, error)], source)
        raise
    intake.take(parsed, source, tally)
    return tally.report()


def take_file(intake: Intake, chunks: Iterator[Parsed], source: Source) -> IngestReport:
    """Take in a file, chunk by chunk, each in its own transaction.

    Raises `Invalid` for a CSV without a column it needs, `Unreadable` or `TooLarge` where the file breaks off; chunks
    before that are kept, and sending the file again makes duplicates of them.
    """
    tally = Tally(source)
    try:
        _write_behind(intake, chunks, source, tally)
    except (Invalid, Unreadable, TooLarge) as error:
        intake.keep([_unreadable(b"", error)], source)
        report = tally.report()
        taken = f" {report.accepted} events before that were accepted; sending all again does no harm."
        raise type(error)(error.detail + taken, error.errors) from error
    report = tally.report()
    log.info("file taken in", door=source.door, accepted=report.accepted, refused=report.refused)
    return report


def _write_behind(intake: Intake, chunks: Iterator[Parsed], source: Source, tally: Tally) -> None:
    """Write each chunk while the next is read and parsed."""
    with ThreadPoolExecutor(1) as writer:
        writing: Future[None] | None = None
        for parsed in chunks:
            if writing is not None:
                writing.result()
            writing = writer.submit(intake.take, parsed, source, tally)
        if writing is not None:
            writing.result()


def plain_one(intake: Intake, body: bytes) -> Item | None:
    """One event with nothing wrong, without a look into the database; None where there is more to say."""
    try:
        event = native.one(body)
    except Unreadable:
        return None
    if isinstance(event, list):
        return None
    registry = intake.kinds.at_hand([event.kind])
    if registry is None or problems(event, registry, datetime.now(UTC)):
        return None
    return admitted(Item(0, event), intake.secret)


def look_at_one(intake: Intake, body: bytes, source: Source) -> Item:
    """The event in a body. What is refused is kept. Raises `Unreadable`, `Invalid`."""
    try:
        event = native.one(body)
    except Unreadable as error:
        intake.keep([_unreadable(body, error)], source)
        raise
    if isinstance(event, list):
        found = event
    else:
        found = problems(event, intake.kinds.registry([event.kind]), datetime.now(UTC))
        if not found:
            return admitted(Item(0, event), intake.secret)
    _refuse(intake, body, found, source)
    raise Invalid("The event is refused.", found)


def answer_one(event: Event, verdict: Verdict) -> IngestReport:
    """The answer to one event. Raises `EventConflict`."""
    if verdict is Verdict.CONFLICT:
        pointed = [FieldError("/event_id", "another event of this customer has this id")]
        raise EventConflict(f"Event {event.event_id} is known with other content; nothing was changed.", pointed)
    return IngestReport(accepted=int(verdict is Verdict.ACCEPTED), duplicates=int(verdict is Verdict.DUPLICATE))


def _refuse(intake: Intake, body: bytes, found: list[FieldError], source: Source) -> None:
    intake.keep([Refusal(0, *found[0], body)], source)
    REJECTED.labels(source.door).inc()


def _unreadable(body: bytes, error: DomainError) -> Refusal:
    return Refusal(0, "", error.detail, body, code="unreadable")
