"""Lists in pages: keyset cursors that are bound to the query they came from."""

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Annotated, Generic, TypeVar

from fastapi import Depends, Query, Request

from shared.contracts.base import Message
from shared.errors import FieldError, Invalid

T = TypeVar("T")


class Page(Message, Generic[T]):
    """One page of a list; `next_cursor` is null on the last."""

    items: list[T]
    next_cursor: str | None = None


class PageRequest:
    """Which page is asked for. Queries fetch `limit + 1` rows after `after`."""

    def __init__(self, limit: int, after: list[str] | None, scope: str) -> None:
        self.limit = limit
        self.after = after
        self._scope = scope

    def answer(self, items: Sequence[T], key: Callable[[T], list[str]]) -> Page[T]:
        """The page of the rows fetched; `key` gives the values that the next page starts after."""
        shown = list(items[: self.limit])
        following = _encode(self._scope, key(shown[-1])) if len(items) > self.limit else None
        return Page[T](items=shown, next_cursor=following)


def _encode(scope: str, values: list[str]) -> str:
    return base64.urlsafe_b64encode(json.dumps([scope, *values]).encode()).decode().rstrip("=")


def _decode(cursor: str, scope: str) -> list[str]:
    refused = Invalid("This cursor belongs to no page of this query.", [FieldError("#query/cursor", "not a cursor of this query")])
    try:
        found = json.loads(base64.urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)))
    except ValueError as error:
        raise refused from error
    if not isinstance(found, list) or not all(isinstance(part, str) and "\x00" not in part for part in found):
        raise refused
    if len(found) < 2 or found[0] != scope:
        raise refused
    return found[1:]


def _paged(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | None, Query(max_length=2000)] = None,
) -> PageRequest:
    rest = sorted((name, value) for name, value in request.query_params.multi_items() if name not in ("limit", "cursor"))
    scope = hashlib.sha256(json.dumps([request.url.path, rest]).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return PageRequest(limit, _decode(cursor, scope) if cursor else None, scope)


Paged = Annotated[PageRequest, Depends(_paged)]
