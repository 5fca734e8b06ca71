"""API keys: `attune.<id>.<secret>` with 256 random bits, kept only as keyed hashes, scoped, expiring, revocable."""

import base64
import binascii
import hmac
import secrets
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa
from fastapi import Depends, Request
from fastapi.security import HTTPBasic, HTTPBearer
from fastapi.security.http import HTTPBase
from pydantic import TypeAdapter, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from shared.contracts.base import Instant, Message, Name, in_words
from shared.db import Db, new_id, read_only
from shared.errors import FieldError, Forbidden, Invalid, NotFound, Unauthorised
from shared.hashing import keyed_hash
from shared.settings import Settings

SCOPES = (
    "audience:read", "audience:write", "experiments:read", "experiments:write",
    "feedback:read", "feedback:write", "admin",
)  # fmt: skip

Basic = Literal["password", "user name"]

FRESH_FOR = 5.0  # seconds after which a known key is looked up again; a revoked key lives no longer than this

LOOK_UP = sa.text("""
    select k.name, k.scopes, k.secret_hash
      from access.api_key as k
     where k.id = cast(:id as uuid)
       and k.revoked_at is null
       and (k.expires_at is null or k.expires_at > :now)
""")
INSERT = sa.text("""
    insert into access.api_key (id, name, scopes, secret_hash, created_at, expires_at)
    values (:id, :name, :scopes, :secret_hash, :now, :expires_at)
""")
LIST = sa.text("""
    select k.id, k.name, k.scopes, k.created_at, k.expires_at, k.revoked_at
      from access.api_key as k
     order by k.created_at, k.id
""")
REVOKE = sa.text("""
    update access.api_key as k
       set revoked_at = coalesce(k.revoked_at, :now)
     where k.id = cast(:id as uuid)
 returning k.id
""")


_NAME: TypeAdapter[str] = TypeAdapter(Name)


class Caller(NamedTuple):
    """Who calls: the key's id and name, and what it may do."""

    id: str
    name: str
    scopes: frozenset[str]

    def may(self, scope: str) -> bool:
        service, _, verb = scope.partition(":")
        return "admin" in self.scopes or scope in self.scopes or (verb == "read" and f"{service}:write" in self.scopes)


class ApiKey(Message):
    """An API key as it can be shown: never its secret."""

    id: str
    name: str  # as it is stored: a key that could not be made today must still be shown, to be revoked
    scopes: list[str]
    created_at: Instant
    expires_at: Instant | None = None
    revoked_at: Instant | None = None


class KeyRing:
    """Tells whose key it is. Keys that were found are remembered for `FRESH_FOR` seconds."""

    def __init__(self, settings: Settings) -> None:
        self._secret = settings.secret
        self._fixed = {
            self._digest(key): Caller(name, name, frozenset({"admin"}))
            for name, key in (("bootstrap", settings.bootstrap_key), ("service", settings.service_key))
            if key
        }
        self._known: dict[bytes, tuple[float, Caller]] = {}
        self._lock = threading.Lock()

    def _digest(self, key: str) -> bytes:
        return keyed_hash(self._secret, f"api key {key}")

    def remembered(self, key: str) -> Caller | None:
        """The caller with this key, where that is known without asking the database."""
        digest = self._digest(key)
        if digest in self._fixed:
            return self._fixed[digest]
        seen, caller = self._known.get(digest, (0.0, None))
        return caller if time.monotonic() - seen < FRESH_FOR else None

    def caller(self, key: str, engine: sa.Engine) -> Caller:
        """The caller with this key. Raises `Unauthorised`."""
        found = self.remembered(key)
        if found is not None:
            return found
        digest = self._digest(key)
        caller = self._looked_up(key, digest, engine)
        with self._lock:
            if len(self._known) > 10_000:
                self._known.clear()
            self._known[digest] = (time.monotonic(), caller)
        return caller

    def _looked_up(self, key: str, digest: bytes, engine: sa.Engine) -> Caller:
        prefix, _, rest = key.partition(".")
        identifier, _, _secret = rest.partition(".")
        if prefix == "attune" and _is_id(identifier):
            with read_only(engine) as db:
                row = db.execute(LOOK_UP, {"id": identifier, "now": datetime.now(UTC)}).one_or_none()
            if row is not None and hmac.compare_digest(row.secret_hash, digest):
                return Caller(identifier, row.name, frozenset(row.scopes))
        raise Unauthorised("This API key is not valid.")


def _is_id(text: str) -> bool:
    return len(text) == 32 and all(character in "0123456789abcdef" for character in text)


def create_key(
    db: Db, secret: str, name: str, scopes: Sequence[str], expires_at: datetime | None = None
) -> tuple[str, str]:
    """Make a key: (its id, the key). The key is told this once.

    Raises
    ------
    Invalid
        For an unknown scope, a name that nobody could tell it by, and an end that lies in the past.
    """
    now = datetime.now(UTC)
    _refuse_senseless(name, scopes, expires_at, now)
    identifier = new_id().hex
    key = f"attune.{identifier}.{secrets.token_urlsafe(32)}"
    row = {
        "id": identifier,
        "name": name,
        "scopes": list(scopes),
        "secret_hash": keyed_hash(secret, f"api key {key}"),
        "now": now,
        "expires_at": expires_at,
    }
    db.execute(INSERT, row)
    return identifier, key


def _refuse_senseless(name: str, scopes: Sequence[str], expires_at: datetime | None, now: datetime) -> None:
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        raise Invalid(f"A key needs scopes out of {', '.join(SCOPES)}.", [FieldError("/scopes", f"unknown: {unknown}")])
    try:
        _NAME.validate_python(name.strip())
    except ValidationError as error:
        what = "A key needs a name of 1 to 200 characters: whose key it is."
        raise Invalid(what, [FieldError("/name", in_words(error.errors()[0]["msg"]))]) from error
    if expires_at is not None and expires_at <= now:
        what = f"A key that ends at {expires_at:%Y-%m-%d %H:%M %Z} would be refused from the start: give a later time."
        raise Invalid(what, [FieldError("/expires_at", "must lie in the future")])


def list_keys(db: Db) -> list[ApiKey]:
    """All keys, oldest first, revoked ones too."""
    return [ApiKey.model_validate({**row, "id": row["id"].hex}) for row in db.execute(LIST).mappings()]


def revoke_key(db: Db, identifier: str) -> None:
    """From now on the key is refused. Revoking twice changes nothing. Raises `NotFound`."""
    if (
        not _is_id(identifier.replace("-", ""))
        or db.execute(REVOKE, {"id": identifier, "now": datetime.now(UTC)}).one_or_none() is None
    ):
        raise NotFound(f"There is no API key {identifier}.")


_bearer = HTTPBearer(auto_error=False, description="An API key: `Authorization: Bearer attune.…`")
_basic = HTTPBasic(auto_error=False, description="Any name, the API key as password")


class WriteKey(HTTPBase):
    """Documents that the key may be the user name; it is read like any other."""

    async def __call__(self, request: HTTPConnection) -> None:
        return None


_write_key = WriteKey(scheme="basic", description="The API key as user name; the password does not matter")


def _presented(request: Request, basic: Basic | None) -> str:
    kind, _, value = request.headers.get("authorization", "").partition(" ")
    value = value.strip()
    if kind.lower() == "bearer" and value:
        return value
    if basic and kind.lower() == "basic":
        try:
            name, _, password = base64.b64decode(value, validate=True).decode().partition(":")
            return name if basic == "user name" else password
        except (binascii.Error, UnicodeDecodeError) as error:
            raise Unauthorised("The Basic credentials cannot be read.") from error
    raise Unauthorised("An API key is needed: Authorization: Bearer <key>.")


def requires(scope: str, *, basic: Basic | None = None) -> Any:
    """A dependency that lets callers with `scope` pass.

    `basic` says where the key may stand in HTTP Basic, too: as the password, which browsers ask people for, or as the
    user name, which is how the libraries that send events give their write key.
    """

    async def check(request: Request) -> Caller:
        keys, engine = request.app.state.keys, request.app.state.engine
        try:
            key = _presented(request, basic)
            # Nearly every call comes with a key that is remembered: a thread for it would cost more than the check.
            caller: Caller = keys.remembered(key) or await run_in_threadpool(keys.caller, key, engine)
        except Unauthorised as error:
            raise (BasicWanted(error.detail) if basic == "password" else error) from error
        if not caller.may(scope):
            raise Forbidden(f"This key lacks the scope {scope}.")
        request.state.caller = caller
        return caller

    if basic == "password":

        async def page(request: Request, _documented: Any = Depends(_basic), _too: Any = Depends(_bearer)) -> Caller:
            return await check(request)

        return Depends(page)

    if basic == "user name":

        async def door(
            request: Request, _documented: Any = Depends(_bearer), _too: Any = Depends(_write_key)
        ) -> Caller:
            return await check(request)

        return Depends(door)

    async def call(request: Request, _documented: Any = Depends(_bearer)) -> Caller:
        return await check(request)

    return Depends(call)


class BasicWanted(Unauthorised):
    """No valid key came with a call for a page: browsers are asked for one."""

    challenge = 'Basic realm="attune"'
