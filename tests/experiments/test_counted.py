"""Until when everything is in: one answer for results, looks and uplift."""

from datetime import UTC, datetime, timedelta

from services.experiments import counted
from services.experiments.queries.outcomes import Pending

NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def waiting(oldest: datetime | None) -> Pending:
    """Counted an hour ago, events usually arriving within two."""
    return Pending(xid="7", moved_at=NOW - HOUR, usual_lag=2 * HOUR, batches=int(oldest is not None), oldest=oldest)


def test_what_is_counted_ends_the_usual_lag_before_the_last_tick():
    assert counted.until(waiting(None), NOW) == NOW - 3 * HOUR


def test_nothing_after_the_oldest_batch_that_waits_is_taken_for_complete():
    assert counted.until(waiting(NOW - 5 * HOUR), NOW) == NOW - 7 * HOUR
    assert counted.until(waiting(NOW), NOW) == NOW - 3 * HOUR


def test_a_recount_knows_all_that_has_arrived_by_now():
    assert counted.until(waiting(NOW - 5 * HOUR), NOW, NOW) == NOW - 2 * HOUR
    assert counted.until(waiting(None), NOW, NOW - 24 * HOUR) == NOW - 24 * HOUR


def test_before_anything_was_counted_there_is_nothing_to_wait_for():
    assert counted.until(None, NOW) == counted.until(None, NOW, NOW) == NOW
