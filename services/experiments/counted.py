"""Until when everything is in, and why not later: who is mature, and which day is over, follows from it. Pure."""

from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

from shared.contracts.results import Lateness

REMEMBERED = timedelta(days=8)
"""Arrivals of so long make the usual lag. A week and a day, so that a delivery that comes once a week counts, and is
remembered until the next one is overdue. What arrives later than that is history being loaded or an old mistake being
mended, and does not say when to expect the rest."""


class Pending(NamedTuple):
    """The position, the usual lag, and how many batches (and one for assignments) wait since when.

    `slowest`: the kind of event that makes the lag, and `last_came` the last day (UTC) on which such came as late.
    """

    xid: str
    moved_at: datetime
    usual_lag: timedelta
    batches: int
    oldest: datetime | None
    slowest: str | None = None
    last_came: date | None = None


def until(pending: Pending | None, now: datetime, recounted: datetime | None = None) -> datetime:
    """What occurred before this is counted, but for what arrives unusually late.

    Of what the worker accumulated that is the usual lag before its last tick, or before the oldest batch it has not
    counted; `recounted` from raw events up to an instant knows all that has arrived by now.
    """
    if recounted is not None:
        return min(recounted, now - (pending.usual_lag if pending else timedelta(0)))
    if pending is None:
        return now
    return min(pending.moved_at, pending.oldest or pending.moved_at) - pending.usual_lag


def lateness(pending: Pending | None) -> Lateness | None:
    """What is waited for; None where nothing arrives late."""
    if pending is None or pending.slowest is None or pending.last_came is None or not pending.usual_lag:
        return None
    last = datetime.combine(pending.last_came, time(), UTC)
    return Lateness(
        kind=pending.slowest,
        hours=pending.usual_lag / timedelta(hours=1),
        forgotten=last + REMEMBERED + timedelta(days=1),
    )


def held_back(closes: datetime, as_of: datetime, late: Lateness | None) -> str:
    """Why customers do not count yet whose windows have closed since `closes`."""
    counts = closes + timedelta(hours=late.hours if late else 0)
    if late is None or counts <= as_of:
        return f"windows have closed since {moment(closes)}; they count when the worker has counted what arrived"
    return (
        f"windows have closed since {moment(closes)}, but late arrivals are waited for: {words(late)}, so the first of "
        f"them counts from {moment(counts)} on"
    )


def words(late: Lateness) -> str:
    """How late what arrives.

    >>> words(Lateness(kind="order", hours=30, forgotten=datetime(2026, 3, 11, tzinfo=UTC)))
    'order events arrive up to 30 hours late'
    """
    for unit, hours in (("days", 24.0), ("hours", 1.0)):
        if late.hours >= 2 * hours:
            return f"{late.kind} events arrive up to {late.hours / hours:.3g} {unit} late"
    return f"{late.kind} events arrive up to {late.hours * 60:.0f} minutes late"


def moment(instant: datetime) -> str:
    """An instant as notes tell it.

    >>> moment(datetime(2026, 3, 2, 9, tzinfo=UTC))
    '2026-03-02, 09:00 UTC'
    """
    return f"{instant.astimezone(UTC):%Y-%m-%d, %H:%M} UTC"
