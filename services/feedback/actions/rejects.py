"""Trying rejects again after a mend."""

import json
from collections.abc import Sequence
from typing import Any

from services.feedback import writer
from services.feedback.actions.intake import Intake, Source, Tally, judge
from services.feedback.doors import Item, Parsed, Refusal, native
from services.feedback.events import Registry
from services.feedback.queries import rejects as queries
from services.feedback.queries.rejects import Stored
from services.feedback.writer import Verdict
from shared.contracts.feedback import IngestReport, Retry
from shared.errors import FieldError, Invalid

HASHED = "holds hashed fields or was cut off: say with `event` what it should be"


def retry(intake: Intake, wanted: Sequence[Retry], request_id: str) -> IngestReport:
    """Try rejects again: those that are taken now are marked; the others stay as they are. Raises `Invalid`."""
    tally = Tally(Source("retry", request_id))
    registry, received = intake.kinds.reread(), intake.received()
    with intake.transaction() as db:
        stored = queries.locked(db, [one.id for one in wanted])
        _check_known(wanted, stored)
        parsed = Parsed([], [])
        for place, one in enumerate(wanted):
            _parse(place, one, stored[one.id], registry, parsed)
        judged = judge(parsed, registry, received.at, intake.secret)
        verdicts = writer.write(db, judged.items, received)
        taken = [
            wanted[item.place].id
            for item, verdict in zip(judged.items, verdicts, strict=True)
            if verdict is not Verdict.CONFLICT
        ]
        queries.mark_retried(db, taken, received.at)
    tally.add(verdicts, judged.refusals)
    return tally.report()


def _check_known(wanted: Sequence[Retry], stored: dict[Any, Stored]) -> None:
    unknown = [
        FieldError(f"/rejects/{place}/id", "there is no such reject")
        for place, one in enumerate(wanted)
        if one.id not in stored
    ]
    if unknown:
        raise Invalid("Some of these rejects do not exist.", unknown[:100])


def _parse(place: int, one: Retry, stored: Stored, registry: Registry, parsed: Parsed) -> None:
    if one.event is None and not stored.whole:
        parsed.refusals.append(Refusal(place, "", HASHED, b""))
        return
    raw = json.dumps(one.event).encode() if one.event is not None else stored.raw
    found = native.event_of_kept(raw, registry) if stored.door == "csv" and one.event is None else native.checked(raw)
    if isinstance(found, FieldError):
        parsed.refusals.append(Refusal(place, *found, raw))
    else:
        parsed.items.append(Item(place, found, stored.source_row))
