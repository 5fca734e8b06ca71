"""How events arrive. A door turns bytes into events, and what it cannot turn into one into a refusal."""

from typing import NamedTuple

from shared.contracts.feedback import Event, RejectCode


class Item(NamedTuple):
    """An event and its place in the request: `place` counts from 0, `source_row` is the row of a file (from 1).

    `earlier_id` is the event's id as an earlier release may have kept it, where that is another.
    """

    place: int
    event: Event
    source_row: int | None = None
    earlier_id: str | None = None


class Refusal(NamedTuple):
    """What was not taken. `pointer` is the place within the item; `raw` is the item as it came."""

    place: int
    pointer: str
    detail: str
    raw: bytes
    source_row: int | None = None
    code: RejectCode = "rejected"


class Parsed(NamedTuple):
    """A request, or one chunk of it, after parsing: every item is in exactly one of the two."""

    items: list[Item]
    refusals: list[Refusal]
