"""Until when everything is in: who is mature, and which day is over, follows from it. Pure."""

from datetime import datetime, timedelta

from services.experiments.queries.outcomes import Pending


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
