"""`Idempotency-Key`: a creating call that is repeated gives its first answer again."""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar

import sqlalchemy as sa
from fastapi import Depends, Header, Request
from pydantic import BaseModel, StringConstraints

from shared.contracts.base import read
from shared.db import Db, Engine, read_only, waiting_for_others
from shared.errors import Conflict

M = TypeVar("M", bound=BaseModel)

KEPT_FOR = timedelta(hours=24)

# Unqualified: the role's search path is its service's own schema.
# What another call is about to forget, in long work perhaps, is not waited for.
FORGET = sa.text("""
    delete from idempotency_key as i
     where i.ctid = any(array(select f.ctid
                                from idempotency_key as f
                               where f.created_at < :before and f.caller = :caller
                                 for update skip locked))
""")
CLAIM = sa.text("""
    insert into idempotency_key (caller, route, key, digest, created_at)
    values (:caller, :route, :key, :digest, :now)
        on conflict do nothing
 returning key
""")
STORED = sa.text("""
    select i.digest, i.answer, i.created_at
      from idempotency_key as i
     where i.caller = :caller and i.route = :route and i.key = :key
""")
STORE = sa.text("""
    update idempotency_key as i
       set answer = :answer
     where i.caller = :caller and i.route = :route and i.key = :key
""")

IdempotencyKey = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class Repeatable:
    """Runs an effect once for each (caller, route, Idempotency-Key), in the effect's own transaction.

    A concurrent repeat waits for the first at the unique key, then gives the same answer; of many, most come again.
    """

    def __init__(self, caller: str, route: str, key: str | None) -> None:
        self._caller = caller
        self._route = route
        self._key = key

    def __call__(self, db: Db, body: BaseModel, effect: Callable[[], M], answer: type[M]) -> M:
        """The effect's answer, or the stored one.

        Raises `Conflict` when the key came with another body before, `Busy` when too many wait for others already.
        """
        if self._key is None:
            return effect()
        now = datetime.now(UTC)
        db.execute(FORGET, {"before": now - KEPT_FOR, "caller": self._caller})
        with waiting_for_others(db):
            claimed = db.execute(CLAIM, {**self._place, "digest": _digest(body), "now": now}).one_or_none()
        if claimed is None:
            return _told(db.execute(STORED, self._place).one(), body, answer)
        made = effect()
        db.execute(STORE, {**self._place, "answer": made.model_dump_json()})
        return made

    def answered(self, engine: Engine, body: BaseModel, answer: type[M]) -> M | None:
        """The answer to an earlier call, if one ended. For effects that ask peers first: nothing is held afterwards.

        Raises `Conflict` when the key came with another body before.
        """
        if self._key is None:
            return None
        with read_only(engine) as db:
            stored = db.execute(STORED, self._place).one_or_none()
        if stored is None or stored.created_at < datetime.now(UTC) - KEPT_FOR:
            return None
        return _told(stored, body, answer)

    @property
    def _place(self) -> dict[str, str | None]:
        return {"caller": self._caller, "route": self._route, "key": self._key}


def _digest(body: BaseModel) -> bytes:
    return hashlib.sha256(body.model_dump_json().encode()).digest()


def _told(stored: sa.Row[Any], body: BaseModel, answer: type[M]) -> M:
    if stored.digest != _digest(body):
        raise Conflict("This Idempotency-Key came with another body before.")
    return read(answer, stored.answer)


def _repeatable(request: Request, idempotency_key: Annotated[IdempotencyKey | None, Header()] = None) -> Repeatable:
    caller = getattr(request.state, "caller", None)
    return Repeatable(caller.id if caller else "", f"{request.method} {request.url.path}", idempotency_key)


Once = Annotated[Repeatable, Depends(_repeatable)]
