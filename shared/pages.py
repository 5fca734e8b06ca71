"""Lists in pages: keyset cursors that are bound to the query they came from."""

import base64
import json
from collections.abc import Callable, Sequence
from typing import Annotated, Generic, TypeVar

from fastapi import Depends, Query, Request

from shared.contracts.base import Message
from shared.errors import FieldError, Invalid
from shared.hashing import keyed_hash

T = TypeVar("T")

LONGEST = 8_000  # characters of a cursor: it may hold two ids, of which each control character is six bytes of JSON


class Page(Message, Generic[T]):
    """One page of a list; `next_cursor` is null on the last."""

    items: list[T]
    next_cursor: str | None = None


class PageRequest:
    """Which page is asked for. Queries fetch `limit + 1` rows after `after`."""

    def __init__(self, limit: int, cursor: str | None, sign: Callable[[list[str]], str]) -> None:
        self.limit = limit
        self._sign = sign
        self.after = self._read(cursor) if cursor else None

    def answer(self, items: Sequence[T], key: Callable[[T], list[str]]) -> Page[T]:
        """The page of the rows fetched; `key` gives the values that the next page starts after."""
        shown = list(items[: self.limit])
        following = self._write(key(shown[-1])) if len(items) > self.limit else None
        return Page[T](items=shown, next_cursor=following)

    def _write(self, values: list[str]) -> str:
        told = json.dumps([self._sign(values), *values], ensure_ascii=False)
        return base64.urlsafe_b64encode(told.encode()).decode().rstrip("=")

    def _read(self, cursor: str) -> list[str]:
        try:
            signature, *values = json.loads(base64.urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)))
            genuine = bool(values) and signature == self._sign(values)
        except (ValueError, TypeError):
            genuine = False
        if not genuine:
            pointed = [FieldError("#query/cursor", "not a cursor of this query")]
            raise Invalid("This cursor belongs to no page of this query.", pointed)
        return [str(value) for value in values]


def _paged(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | None, Query(max_length=LONGEST)] = None,
) -> PageRequest:
    rest = sorted(
        (name, value) for name, value in request.query_params.multi_items() if name not in ("limit", "cursor")
    )
    secret = request.app.state.settings.secret

    def sign(values: list[str]) -> str:
        return keyed_hash(secret, json.dumps(["cursor", request.url.path, rest, values])).hex()[:24]

    return PageRequest(limit, cursor, sign)


Paged = Annotated[PageRequest, Depends(_paged)]
