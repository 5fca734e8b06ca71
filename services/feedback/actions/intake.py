"""What every request with events goes through: judged, written, counted, reported."""

from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import NamedTuple

import prometheus_client as prometheus

from services.feedback import rejects, writer
from services.feedback.actions.kinds import Kinds
from services.feedback.doors import Item, Parsed, Refusal
from services.feedback.events import Registry, identified, problems
from services.feedback.personal import earlier_id, without_contact_data
from services.feedback.queries import rejects as reject_queries
from services.feedback.writer import Received, Verdict
from shared.contracts.feedback import Door, IngestReport, Reason, Rejected
from shared.db import Db, Engine, new_id, transaction
from shared.settings import Settings
from shared.shared_commit import SharedCommit

MOST_TOLD = 10_000  # refusals that a report lists one by one
DIFFERENT_REASONS = 5000  # kept while a file runs: every line may be wrong in a way of its own
OTHER = ("", "other reasons (the rejects name them)")

ACCEPTED = prometheus.Counter("attune_events_accepted_total", "Events taken", ["door"])
DUPLICATES = prometheus.Counter("attune_events_duplicate_total", "Events that were there already", ["door"])
CONFLICTS = prometheus.Counter("attune_events_conflicting_total", "Events with the id of another event", ["door"])
COUNTERS = {Verdict.ACCEPTED: ACCEPTED, Verdict.DUPLICATE: DUPLICATES, Verdict.CONFLICT: CONFLICTS}
REJECTED = prometheus.Counter("attune_events_rejected_total", "Items that are no acceptable event", ["door"])


class Source(NamedTuple):
    """How a request came: by which door, under which id."""

    door: Door
    request_id: str


class Single(NamedTuple):
    """One event that came alone."""

    item: Item
    source: Source


class Tally:
    """The report as it grows."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._verdicts: Counter[Verdict] = Counter()
        self._reasons: Counter[tuple[str, str]] = Counter()
        self._rejected: list[Rejected] = []
        self._refused = 0

    def add(self, verdicts: Sequence[Verdict], refusals: Sequence[Refusal]) -> None:
        counts = Counter(verdicts)
        self._verdicts.update(counts)
        self._refused += len(refusals)
        for refusal in refusals:
            reason = (refusal.pointer, refusal.detail)
            known = reason in self._reasons or len(self._reasons) < DIFFERENT_REASONS
            self._reasons[reason if known else OTHER] += 1
        for refusal in refusals[: MOST_TOLD - len(self._rejected)]:
            told = Rejected(index=refusal.place, pointer=refusal.pointer, detail=refusal.detail)
            self._rejected.append(told)
        for verdict, counter in COUNTERS.items():
            counter.labels(self._source.door).inc(counts[verdict])
        REJECTED.labels(self._source.door).inc(len(refusals))

    def report(self) -> IngestReport:
        reasons = [
            Reason(pointer=pointer, detail=detail, count=count)
            for (pointer, detail), count in self._reasons.most_common(100)
        ]
        return IngestReport(
            accepted=self._verdicts[Verdict.ACCEPTED],
            duplicates=self._verdicts[Verdict.DUPLICATE],
            conflicts=self._verdicts[Verdict.CONFLICT],
            rejected=self._rejected,
            refused=self._refused,
            reasons=reasons,
        )


class Intake:
    """What taking events in needs and every request of this process shares."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self.kinds = Kinds(engine)
        self._engine = engine
        self._settings = settings
        self.secret = settings.secret
        self.shared_commit: SharedCommit[Single, Verdict] = SharedCommit(self._write_together)

    def take(self, parsed: Parsed, source: Source, tally: Tally) -> None:
        """Keep one request's, or one chunk's, events and refusals in one transaction, and add them to the tally."""
        received, registry = self.received(), self.kinds.registry([item.event.kind for item in parsed.items])
        judged = judge(parsed, registry, received.at, self.secret)
        with self.transaction() as db:
            verdicts = writer.write(db, judged.items, received)
            refusals = [*judged.refusals, *conflicts(judged.items, verdicts)]
            keep_refusals(db, refusals, source, received.at, self.secret)
        tally.add(verdicts, judged.refusals)

    def keep(self, refusals: Sequence[Refusal], source: Source) -> None:
        """Keep refusals on their own."""
        with self.transaction() as db:
            keep_refusals(db, refusals, source, datetime.now(UTC), self.secret)

    def _write_together(self, singles: Sequence[Single]) -> list[Verdict]:
        received, items = self.received(), [single.item for single in singles]
        with self.transaction() as db:
            verdicts = writer.write(db, items, received)
            for single, verdict in zip(singles, verdicts, strict=True):
                refusals = conflicts([single.item], [verdict])
                keep_refusals(db, refusals, single.source, received.at, self.secret)
        for verdict, count in Counter(verdicts).items():
            COUNTERS[verdict].labels("one").inc(count)
        return verdicts

    def transaction(self) -> AbstractContextManager[Db]:
        """A writing transaction, committed at the end of the block."""
        return transaction(self._engine)

    def received(self) -> Received:
        """Now, and what of the installation's it takes to compare events."""
        return Received(datetime.now(UTC), self._settings.currency, self.secret)


def judge(parsed: Parsed, registry: Registry, received_at: datetime, secret: str) -> Parsed:
    """Part the events that keep the rules of their kinds, as they may be kept, from those that do not."""
    judged = Parsed([], list(parsed.refusals))
    for item in parsed.items:
        found = problems(item.event, registry, received_at)
        if found:
            raw = item.event.model_dump_json(exclude_none=True).encode()
            judged.refusals.append(Refusal(item.place, *found[0], raw, item.source_row))
            continue
        judged.items.append(admitted(item, secret))
    return judged


def admitted(item: Item, secret: str) -> Item:
    """The item as it may be kept, under its id.

    An id made of the content is made of it as it was sent, so that it outlives every change of what is hashed and how;
    where one of the sender's is hashed otherwise than before, the earlier one goes with it.
    """
    sent = identified(item.event, item.source_row)
    event = without_contact_data(sent, secret)
    if event is item.event:
        return item
    earlier = None if event.event_id == sent.event_id else earlier_id(sent.event_id or "", secret)
    return item._replace(event=event, earlier_id=None if earlier == event.event_id else earlier)


def conflicts(items: Sequence[Item], verdicts: Sequence[Verdict]) -> list[Refusal]:
    """The events that have the id of another, as what is kept of them."""
    detail = "another event of this customer has this id"
    return [
        Refusal(
            item.place,
            "/event_id",
            detail,
            item.event.model_dump_json(exclude_none=True).encode(),
            item.source_row,
            "conflict",
        )
        for item, verdict in zip(items, verdicts, strict=True)
        if verdict is Verdict.CONFLICT
    ]


def keep_refusals(db: Db, refusals: Sequence[Refusal], source: Source, received_at: datetime, secret: str) -> None:
    """Keep them in the transaction of `db`, without what is personal."""
    reject_queries.insert(db, [_reject(refusal, source, received_at, secret) for refusal in refusals])


def _reject(refusal: Refusal, source: Source, received_at: datetime, secret: str) -> reject_queries.NewReject:
    raw, whole = rejects.kept(refusal.raw, secret)
    return reject_queries.NewReject(
        new_id(),
        received_at,
        source.door,
        refusal.code,
        refusal.place,
        refusal.pointer,
        refusal.detail,
        raw,
        whole,
        refusal.source_row,
        source.request_id,
    )
