"""The durable, deduplicating writer: what it says is accepted is on disk, once."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from services.feedback.doors import Item
from services.feedback.personal import alike, holds_hashes, without_contact_data
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
    """When events arrived, the currency of money that names none, and the key of the hashes in them."""

    at: datetime
    currency: str
    secret: str


def write(db: Db, items: Sequence[Item], received: Received) -> list[Verdict]:
    """Keep the new events in the transaction of `db`, with their arrival and their withdrawals: a verdict for each."""
    if not items:
        return []
    items = _under_kept_ids(db, items)
    first, verdicts = _within(items, received.currency)
    keys = sorted(first)
    incoming = queries.Incoming(db, [items[first[key]].event for key in keys], received.currency)
    arrived = incoming.insert(received.at)
    if arrived.events < len(keys):
        standing = incoming.standing(arrived.batch_id)
        if arrived.events + len(standing) < len(keys):
            raise Busy("Events were removed while they were written; send them again.")
        differing = [items[first[key]].event for key, same in standing.items() if not same]
        standing |= {_key(event): True for event in _differing_in_hashes(db, differing, received)}
        unclear = _settle(items, first, verdicts, standing)
        _judge(db, items, unclear, verdicts, received)
    incoming.close()
    if arrived.events and any(item.event.kind in WITHDRAWING for item in items):
        queries.withdraw(db, arrived.batch_id)
    return verdicts


def _under_kept_ids(db: Db, items: Sequence[Item]) -> Sequence[Item]:
    """Events that an earlier release kept under another id stay under that one, so that none is there twice."""
    earlier = [(item.event.customer_id, item.earlier_id) for item in items if item.earlier_id is not None]
    kept = queries.stored(db, earlier)
    if not kept:
        return items
    return [
        item._replace(event=item.event.model_copy(update={"event_id": item.earlier_id}))
        if (item.event.customer_id, item.earlier_id) in kept
        else item
        for item in items
    ]


def _key(event: Event) -> tuple[str, str]:
    return event.customer_id, event.event_id or ""


def _within(items: Sequence[Item], currency: str) -> tuple[dict[tuple[str, str], int], list[Verdict]]:
    """The place of the first item of each key; later ones are judged against it."""
    first: dict[tuple[str, str], int] = {}
    verdicts = [Verdict.ACCEPTED] * len(items)
    for place, item in enumerate(items):
        earlier = first.setdefault(_key(item.event), place)
        if earlier != place:
            same = _content(items[earlier].event, currency) == _content(item.event, currency)
            verdicts[place] = Verdict.DUPLICATE if same else Verdict.CONFLICT
    return first, verdicts


def _content(event: Event, currency: str) -> Event:
    """What of an event is compared with another of its key, so that they are equal where Postgres would say so of what
    is stored, or where they differ in nothing but hashes."""
    return event.model_copy(
        update={
            "event_id": None,
            "currency": queries.currency_of(event, currency),
            "text": None if event.text is None else alike(event.text),
            "properties": _comparable(event.properties) if event.properties else None,
        }
    )


def _comparable(value: Any) -> Any:
    """JSON in which true is not 1, as in Postgres and unlike in Python, and all hashes are alike."""
    if isinstance(value, dict):  # pairs, for two names may be hashes
        return sorted(((alike(name), _comparable(item)) for name, item in value.items()), key=repr)
    if isinstance(value, list):
        return [_comparable(item) for item in value]
    if isinstance(value, str):
        return alike(value)
    return ("boolean", value) if isinstance(value, bool) else value


def _settle(
    items: Sequence[Item],
    first: dict[tuple[str, str], int],
    verdicts: list[Verdict],
    standing: dict[tuple[str, str], bool],
) -> list[int]:
    """Judge the items whose key was there before them; the places of those that must be compared by themselves."""
    unclear = []
    for place, item in enumerate(items):
        key = _key(item.event)
        same = standing.get(key)
        if same is None:
            continue
        if first[key] == place:
            verdicts[place] = Verdict.DUPLICATE if same else Verdict.CONFLICT
        elif not same and verdicts[place] is Verdict.DUPLICATE:  # of an item that conflicts with what is stored
            verdicts[place] = Verdict.CONFLICT
        elif not same:
            unclear.append(place)
    return unclear


def _judge(db: Db, items: Sequence[Item], unclear: Sequence[int], verdicts: list[Verdict], received: Received) -> None:
    """Compare items that differ from an earlier one of their key, which is not what is stored, with what is."""
    if unclear:
        same = queries.same_as_stored(db, [items[place].event for place in unclear], received.currency)
        differing = [items[place].event for place, one in zip(unclear, same, strict=True) if not one]
        alike_ones = {id(event) for event in _differing_in_hashes(db, differing, received)}
        for place, one in zip(unclear, same, strict=True):
            known = one or id(items[place].event) in alike_ones
            verdicts[place] = Verdict.DUPLICATE if known else Verdict.CONFLICT


def _differing_in_hashes(db: Db, events: Sequence[Event], received: Received) -> list[Event]:
    """Those that are what is stored but for contact data, which may be kept in the clear (events of earlier releases)
    or hashed with a secret that is no longer in use."""
    hashed = [event for event in events if holds_hashes(event)]
    stored = queries.stored(db, [_key(event) for event in hashed])
    masked = {key: without_contact_data(event, received.secret) for key, event in stored.items()}
    return [
        event
        for event in hashed
        if _key(event) in masked
        and _content(event, received.currency) == _content(masked[_key(event)], received.currency)
    ]
