"""Keeping outcomes up with what arrives."""

from datetime import UTC, datetime

from services.experiments.actions.assignments import Begin
from services.experiments.queries import delays
from services.experiments.queries import outcomes as queries
from shared.db import be_patient


def tick(begin: Begin) -> int | None:
    """Count again whom the arrivals since the last tick touched: how many, or None while another worker does it.

    Outcomes and position change in one transaction: a crash leaves both as they were, and the next tick does it again.
    """
    with begin() as db:
        found = queries.position(db, datetime.now(UTC))
        if found is None:
            return None
        be_patient(db)
        if not found.same_cluster:
            queries.start_over(db)
            found = found._replace(xid="0")
        # An earlier release kept the lag alone; until it is known from what, too little would be waited for.
        forgotten = found.usual_lag and delays.none_known(db)
        touched, arrived = 0, queries.arrived(db, found.xid, found.bound)
        if arrived:
            touched = queries.recount(db, found.xid, found.bound)
        if arrived or forgotten:
            delays.remember(db, "0" if forgotten else found.xid, found.bound, found.at)
        queries.move(db, found, delays.usual_lag(db, found.at))
    return touched


def waiting(begin: Begin) -> tuple[int, float]:
    """Batches that are not counted yet, and the age of the oldest in seconds."""
    with begin() as db:
        found = queries.pending(db)
    if found is None or found.oldest is None:
        return 0, 0.0
    return found.batches, max(0.0, (datetime.now(UTC) - found.oldest).total_seconds())
