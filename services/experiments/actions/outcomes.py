"""Keeping outcomes up with what arrives."""

from datetime import UTC, datetime

from services.experiments.actions.assignments import Begin
from services.experiments.queries import delays
from services.experiments.queries import outcomes as queries


def tick(begin: Begin) -> int | None:
    """Count again whom the arrivals since the last tick touched: how many, or None while another worker does it.

    Outcomes and position change in one transaction: a crash leaves both as they were, and the next tick does it again.
    """
    with begin() as db:
        found = queries.position(db, datetime.now(UTC))
        if found is None:
            return None
        if not found.same_cluster:
            queries.start_over(db)
            found = found._replace(xid="0")
        touched = 0
        if queries.arrived(db, found.xid, found.bound):
            touched = queries.recount(db, found.xid, found.bound)
            delays.remember(db, found.xid, found.bound, found.at)
        queries.move(db, found, delays.usual_lag(db, found.at))
    return touched


def waiting(begin: Begin) -> tuple[int, float]:
    """Batches that are not counted yet, and the age of the oldest in seconds."""
    with begin() as db:
        found = queries.pending(db)
    if found is None or found.oldest is None:
        return 0, 0.0
    return found.batches, max(0.0, (datetime.now(UTC) - found.oldest).total_seconds())
