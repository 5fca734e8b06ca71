"""May these customers be sent to now?"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from services.audience.control import control_of
from services.audience.permission import Scope
from services.audience.queries import lists, permission
from services.audience.queries import sending as queries
from services.audience.queries.sending import Standing
from shared.contracts.permissions import RefusedBecause, SendCheck, SendCheckAnswer, SendCheckRequest
from shared.contracts.targeting import ListState, TargetList
from shared.db import Db
from shared.settings import Settings


class Known(NamedTuple):
    """All that decides about sending, for the customers asked about."""

    target_list: TargetList | None
    members: Mapping[str, bool]
    standing: Mapping[str, Standing]
    permitted: set[str]


def check(db: Db, asked: SendCheckRequest, settings: Settings) -> SendCheckAnswer:
    """One verdict for each id, in the order of the question. Raises `NotFound` for an unknown list."""
    now = datetime.now(UTC)
    listed = None if asked.target_list_id is None else lists.target_list(db, asked.target_list_id, now)
    scope = _scope(asked, listed)
    control = control_of(settings.secret, settings.global_control_share, scope.purpose)
    known = Known(
        listed,
        lists.membership(db, asked.target_list_id, asked.customer_ids) if asked.target_list_id else {},
        queries.standing(db, asked.customer_ids, scope, control, now),
        permission.permitted(db, asked.customer_ids, scope, now),
    )
    checks = [_verdict(customer, refusal(customer, known)) for customer in asked.customer_ids]
    return SendCheckAnswer(as_of=now, checks=checks)


def _scope(asked: SendCheckRequest, listed: TargetList | None) -> Scope:
    if listed is not None:
        return Scope(listed.brand, listed.channel, listed.purpose)
    return Scope(asked.brand or "default", asked.channel or "", asked.purpose or "")


def _verdict(customer_id: str, reason: RefusedBecause | None) -> SendCheck:
    return SendCheck(customer_id=customer_id, sendable=reason is None, reason=reason)


Rule = Callable[[str, Known], bool]
RULES: list[tuple[RefusedBecause, Rule]] = [
    ("list expired", lambda _, known: known.target_list is not None and known.target_list.state is ListState.EXPIRED),
    ("not on the list", lambda one, known: known.target_list is not None and one not in known.members),
    ("held out", lambda one, known: known.members.get(one, False)),
    ("unknown", lambda one, known: one not in known.standing),
    ("not reachable", lambda one, known: not known.standing[one].reachable),
    ("not permitted", lambda one, known: one not in known.permitted),
    ("suppressed", lambda one, known: known.standing[one].suppressed),
    ("in global control", lambda one, known: known.standing[one].controlled),
]


def refusal(customer_id: str, known: Known) -> RefusedBecause | None:
    """The first rule that keeps a customer from being sent to; None when there is none."""
    return next((reason for reason, keeps in RULES if keeps(customer_id, known)), None)
