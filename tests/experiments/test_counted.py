"""Until when everything is in, and what is waited for: one answer for results, looks and uplift."""

import doctest
from datetime import UTC, date, datetime, timedelta

import pytest

from services.experiments import counted
from services.experiments.counted import Pending
from shared.contracts.results import Lateness

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


def test_what_is_waited_for_is_the_latest_kind_until_its_delay_is_forgotten():
    found = counted.lateness(waiting(None)._replace(slowest="order", last_came=date(2026, 3, 19)))
    assert (found.kind, found.hours, found.forgotten) == ("order", 2, datetime(2026, 3, 28, tzinfo=UTC))
    assert counted.lateness(waiting(None)) is None


@pytest.mark.parametrize(
    ("hours", "said"),
    [
        (None, "when the worker has counted what arrived"),
        (1, "when the worker has counted what arrived"),
        (190, "order events arrive up to 7.92 days late, so the first of them counts from 2026-03-27, 22:00 UTC on"),
        (30, "order events arrive up to 30 hours late, so the first of them counts from 2026-03-21, 06:00 UTC on"),
    ],
)
def test_customers_whose_windows_have_closed_and_do_not_count_are_told_what_is_waited_for(hours, said):
    late = None if hours is None else Lateness(kind="order", hours=hours, forgotten=NOW)
    found = counted.held_back(NOW - 12 * HOUR, NOW, late)
    assert found.startswith("windows have closed since 2026-03-20, 00:00 UTC")
    assert found.endswith(said)


def test_the_examples_are_true():
    assert doctest.testmod(counted).failed == 0
