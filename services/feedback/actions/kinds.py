"""Which kinds of event there are."""

import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from services.feedback import events
from services.feedback.queries import kinds as queries
from shared.contracts.kinds import WELL_KNOWN, KindRule, NewKind
from shared.db import Db, Engine, read_only, transaction
from shared.errors import Conflict, NotFound
from shared.pages import PageRequest

FRESH_FOR = 5.0  # seconds after which declared kinds are read again


class WellKnown(Conflict):
    """The kind is known everywhere, with the same meaning; it cannot be declared anew."""

    code = "kind-well-known"


def kinds(db: Db) -> list[KindRule]:
    """All kinds, by name: those every installation knows, and the declared ones."""
    return sorted([*WELL_KNOWN.values(), *queries.declared(db)], key=lambda rule: rule.name)


def kinds_after(db: Db, page: PageRequest) -> list[KindRule]:
    """One more than the page holds."""
    after = page.after[0] if page.after else ""
    return [rule for rule in kinds(db) if rule.name > after][: page.limit + 1]


def kind(db: Db, name: str) -> KindRule:
    """Raises `NotFound`."""
    found = next((rule for rule in kinds(db) if rule.name == name), None)
    if found is None:
        raise NotFound(f"There is no kind {name}.")
    return found


def declare(db: Db, name: str, new: NewKind) -> KindRule:
    """Declare a kind, or change what was declared of it; events already kept stay as they are. Raises `WellKnown`."""
    if name in WELL_KNOWN:
        raise WellKnown(f"The kind {name} is known everywhere and cannot be declared anew.")
    rule = events.declared(name, new)
    queries.declare(db, rule, datetime.now(UTC))
    return rule


class Kinds:
    """The registry as this process knows it, at most `FRESH_FOR` seconds old.

    It is read anew before a kind is called unknown, for another process may have declared it a moment ago. One reading
    answers all who asked before it began, so that many unknown kinds at once do not read the table for each.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._registry: events.Registry = WELL_KNOWN
        self._read_at = float("-inf")  # when the latest reading began

    def at_hand(self, named: Sequence[str]) -> events.Registry | None:
        """The registry, where it is fresh and has all these kinds, so that asking for it needs no database."""
        registry, age = self._registry, time.monotonic() - self._read_at
        return registry if age <= FRESH_FOR and all(name in registry for name in named) else None

    def registry(self, named: Sequence[str]) -> events.Registry:
        """The registry; `named` are the kinds that are asked for."""
        found = self.at_hand(named)
        return self.reread() if found is None else found

    def reread(self) -> events.Registry:
        """The registry as it stands now, or did a moment after this was called."""
        asked_at = time.monotonic()
        with self._lock:
            if self._read_at < asked_at:
                began_at = time.monotonic()
                with read_only(self._engine) as db:
                    self._registry = {**WELL_KNOWN, **{rule.name: rule for rule in queries.declared(db)}}
                self._read_at = began_at
            return self._registry

    def declare(self, name: str, new: NewKind) -> KindRule:
        """Declare a kind, so that this process knows it from now on. Raises `WellKnown`."""
        with transaction(self._engine) as db:
            rule = declare(db, name, new)
        self.reread()
        return rule
