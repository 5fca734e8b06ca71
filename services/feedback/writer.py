"""The durable, deduplicating writer: what it says is accepted is on disk, once."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from services.feedback.doors import Item
from services.feedback.queries import events as queries
from shared.contracts.feedback import Event
from shared.contracts.kinds import WELL_KNOWN
from shared.db import Db
from shared.errors import Busy

WITHDRAWING = frozenset(name for name, rule in WELL_KNOWN.items() if rule.follows != "nothing")


class Verdict(StrEnum):
    """What became of an event that broke no rule."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"  # the same event was there already
    CONFLICT = "conflict"  # another event was there under its id; nothing was changed


class Received(NamedTuple):
    """When events arrived, and the currency of money that names none."""

    at: datetime
    currency: str


def write(db: Db, items: Sequence[Item], received: Received) -> list[Verdict]:
    """Keep the new events in the transaction of `db`, with their arrival and their withdrawals: a verdict for each."""
    if not items:
        return []
    first, verdicts = _within(items)
    keys = sorted(first)
    incoming = queries.Incoming(db, [items[first[key]].event for key in keys], received.currency)
    arrived = incoming.insert(received.at)
    if arrived.events < len(keys):
        standing = incoming.standing(arrived.batch_id)
        if arrived.events + len(standing) < len(keys):
            raise Busy("Events were removed while they were written; send them again.")
        _settle(items, verdicts, standing)
    incoming.close()
    if arrived.events and any(item.event.kind in WITHDRAWING for item in items):
        queries.withdraw(db, arrived.batch_id)
    return verdicts


def _key(event: Event) -> tuple[str, str]:
    return event.customer_id, event.event_id or ""


def _within(items: Sequence[Item]) -> tuple[dict[tuple[str, str], int], list[Verdict]]:
    """The place of the first item of each key; later ones are judged against it."""
    first: dict[tuple[str, str], int] = {}
    verdicts = [Verdict.ACCEPTED] * len(items)
    for place, item in enumerate(items):
        earlier = first.setdefault(_key(item.event), place)
        if earlier != place:
            same = items[earlier].event == item.event
            verdicts[place] = Verdict.DUPLICATE if same else Verdict.CONFLICT
    return first, verdicts


def _settle(items: Sequence[Item], verdicts: list[Verdict], standing: dict[tuple[str, str], bool]) -> None:
    """Judge the items whose key was there before them."""
    for place, item in enumerate(items):
        same = standing.get(_key(item.event))
        if same is not None and verdicts[place] is not Verdict.CONFLICT:
            verdicts[place] = Verdict.DUPLICATE if same else Verdict.CONFLICT
