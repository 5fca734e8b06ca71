"""The windows of time that clauses look at. One convention: [from, to), seen from one moment of evaluation."""

from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from shared.contracts.clauses import EventClause, Period

_MONTHS = {"month": 1, "quarter": 3, "year": 12}


class Window(NamedTuple):
    """[start, end) in UTC; without a start it is open. A window whose end is not after its start holds nothing."""

    start: datetime | None
    end: datetime

    def holds(self, instant: datetime) -> bool:
        return (self.start is None or self.start <= instant) and instant < self.end


def window(clause: EventClause, as_of: datetime) -> Window:
    """The window of an event clause. It never reaches past `as_of`: nobody knew then what came later."""
    if clause.within_days is not None:
        return Window(days_before(as_of, clause.within_days), as_of)
    if clause.between_ago is not None:
        longer, shorter = clause.between_ago
        return Window(days_before(as_of, longer), days_before(as_of, shorter))
    if clause.between is not None:
        return Window(clause.between[0], min(clause.between[1], as_of))
    if clause.during is not None:
        start, end = calendar_period(clause.during, as_of)
        return Window(start, min(end, as_of))
    return Window(None, as_of)


def days_before(as_of: datetime, days: float) -> datetime:
    """`days` times 24 hours before; calendars and summer time play no part."""
    return as_of - timedelta(days=days)


def calendar_period(period: Period, as_of: datetime) -> tuple[datetime, datetime]:
    """From when to when a calendar period lasts, in UTC. Weeks begin on Monday (ISO 8601).

    >>> last_month = Period(calendar="month", offset=-1, zone="Europe/Paris")
    >>> [edge.isoformat() for edge in calendar_period(last_month, datetime(2024, 2, 9, tzinfo=UTC))]
    ['2023-12-31T23:00:00+00:00', '2024-01-31T23:00:00+00:00']
    """
    zone = ZoneInfo(period.zone)
    today = as_of.astimezone(zone).date()
    edges = (_first_day(period.calendar, today, period.offset + step) for step in (0, 1))
    start, end = (datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC) for day in edges)
    return start, end


def _first_day(calendar: str, today: date, offset: int) -> date:
    if calendar == "day":
        return today + timedelta(days=offset)
    if calendar == "week":
        return today - timedelta(days=today.weekday()) + timedelta(weeks=offset)
    length = _MONTHS[calendar]
    months = today.year * 12 + (today.month - 1) // length * length + offset * length
    return date(months // 12, months % 12 + 1, 1)


def local_day(as_of: datetime, zone: str) -> date:
    """The calendar day in a zone."""
    return as_of.astimezone(ZoneInfo(zone)).date()


def anniversaries(today: date, days: int) -> list[str]:
    """The days of the year, as `MM-DD`, that come round in [today, today + days).

    Who was born on 29 February has the day on the 28th in other years.

    >>> anniversaries(date(2025, 2, 27), 2)
    ['02-27', '02-28', '02-29']
    """
    coming = (today + timedelta(days=ahead) for ahead in range(min(days, 366)))
    found: dict[str, None] = {}
    for day in coming:
        found[day.isoformat()[5:]] = None
        if (day.month, day.day) == (2, 28) and (day + timedelta(days=1)).month == 3:
            found["02-29"] = None
    return list(found)
