"""Whether a customer may be contacted: the rule that all statements about permission follow. Pure."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from shared.contracts.permissions import ConsentState

EVERY = "*"
"""How "every one" is written where a statement or a suppression names no brand, channel or purpose."""


class Scope(NamedTuple):
    """What permission is asked for."""

    brand: str
    channel: str
    purpose: str


class Statement(NamedTuple):
    """A recorded statement; `None` in brand, channel or purpose covers every one."""

    brand: str | None
    channel: str | None
    purpose: str | None
    state: ConsentState
    at: datetime
    expires_at: datetime | None = None

    def covers(self, scope: Scope) -> bool:
        """Whether it speaks of `scope`; a refusal does however brand, channel and purpose are capitalised."""
        parts = zip((self.brand, self.channel, self.purpose), scope, strict=True)
        loosely = self.state.refuses
        return all(named in (None, asked) or (loosely and named.lower() == asked.lower()) for named, asked in parts)

    def named(self) -> int:
        """How narrow the statement is: how many of brand, channel and purpose it names."""
        return sum(part is not None for part in (self.brand, self.channel, self.purpose))

    def permits(self, now: datetime) -> bool:
        return self.state.permits and (self.expires_at is None or self.expires_at > now)


def dated(state: ConsentState, at: datetime, now: datetime) -> datetime:
    """The instant a statement that arrives at `now` is recorded with.

    A permission is never younger than its arrival, however far its clock runs ahead: it would outlive a withdrawal that
    is heard in between.
    """
    return at if state.refuses else min(at, now)


def deciding(statements: Iterable[Statement], scope: Scope, now: datetime) -> Statement | None:
    """The statement that holds for `scope` at `now`, or None where nothing was said.

    The newest covering statement holds. Of several at the same instant the narrower one does, and of equally narrow
    ones the one that does not permit. A permission starts at its `at`; a refusal holds at once, even when the clock
    that stamped it runs ahead. An expired permission does not bring back what it replaced.
    """
    holding = [one for one in statements if one.covers(scope) and (one.at <= now or one.state.refuses)]
    return max(holding, key=lambda one: (one.at, one.named(), not one.permits(now)), default=None)


def permitted(statements: Iterable[Statement], scope: Scope, now: datetime) -> bool:
    """Unknown means no: only a holding, unexpired permission says yes."""
    holds = deciding(statements, scope, now)
    return holds is not None and holds.permits(now)
