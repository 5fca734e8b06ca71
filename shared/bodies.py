"""Bodies in and out: strict JSON, and streams of NDJSON and CSV that are never whole in memory."""

import csv
import io
import itertools
import json
import zlib
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from typing import Any, NoReturn, TypeVar

import anyio.from_thread
from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.requests import ClientDisconnect

from shared.errors import FieldError, Invalid, TooLarge, Unreadable, UnsupportedMediaType
from shared.parameters import known_to, refuse_unknown

T = TypeVar("T")

JSON_LIMIT = 1024 * 1024
STREAM_LIMIT = 2 * 1024**3
LINE_LIMIT = 1024 * 1024
MARK = b"\xef\xbb\xbf"
"""U+FEFF, which Windows writes at the beginning of a file in UTF-8. It is passed over and belongs to no row."""
DEEPEST = 64
_RATIO = 200  # how much larger than its compressed form a body may become


def parse_json(raw: bytes) -> Any:
    """JSON that Postgres can hold.

    Raises `Unreadable` for what is no JSON, and `Invalid` for NaN, NUL, lone surrogates, names that come twice in one
    object, and too much depth.
    """
    try:
        text = raw.decode("utf-8")
        found = _DECODER.decode(text)
    except UnicodeDecodeError as error:
        raise Unreadable(f"The body is not UTF-8 at byte {error.start}.") from error
    except json.JSONDecodeError as error:
        raise Unreadable(f"The body is not JSON: {error.msg} at character {error.pos}.") from error
    except RecursionError as error:
        raise Invalid("The body is nested too deep.") from error
    except ValueError as error:  # an integer of more digits than Python converts
        raise Invalid("The body holds a number that is too long.") from error
    escaped = "\\u" in text
    if escaped or text.count("[") + text.count("{") > DEEPEST:  # else it can be neither deep nor broken
        _check(found, "", 0, escaped)
    return found


def _no_constant(name: str) -> NoReturn:
    raise Invalid(f"JSON has no {name}.", [FieldError("", f"{name} is not a JSON number")])


def _finite(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise Invalid("The body holds a number beyond the range of a double.", [FieldError("", "number too large")])
    return number


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        told = f" ({repeated})" if repeated.isidentifier() else ""  # any other could be somebody's address
        raise Invalid(f"The body names a field twice{told}.", [FieldError("", f"names a field twice{told}")])
    return found


def _check(value: Any, pointer: str, depth: int, escaped: bool) -> None:
    if depth > DEEPEST:
        raise Invalid("The body is nested too deep.", [FieldError(pointer, f"deeper than {DEEPEST} levels")])
    if isinstance(value, dict):
        for name, item in value.items():
            place = f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}"
            if escaped:
                _check_text(name, pointer)
            _check(item, place, depth + 1, escaped)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check(item, f"{pointer}/{index}", depth + 1, escaped)
    elif escaped and isinstance(value, str):
        _check_text(value, pointer)


def _check_text(text: str, pointer: str) -> None:
    if "\x00" in text:
        raise Invalid("A text holds the character NUL.", [FieldError(pointer, "must not contain NUL")])
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Invalid("A text holds half a character.", [FieldError(pointer, "lone surrogate")]) from error


_DECODER = json.JSONDecoder(object_pairs_hook=_members, parse_constant=_no_constant, parse_float=_finite)


class _StrictRequest(Request):
    async def body(self) -> bytes:
        if not hasattr(self, "_body"):
            chunks, size = [], 0
            async for chunk in self.stream():
                size += len(chunk)
                if size > JSON_LIMIT:
                    raise TooLarge(f"The body is larger than {JSON_LIMIT} bytes.")
                chunks.append(chunk)
            self._body = b"".join(chunks)
        return self._body

    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            self._json = parse_json((await self.body()).removeprefix(MARK))
        return self._json


class StrictRoute(APIRoute):
    """A route whose JSON bodies are strict and at most 1 MiB; other media types and unknown parameters are refused."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        inner = super().get_route_handler()
        reads_body = self.body_field is not None
        known = known_to(self.dependant)

        async def handle(request: Request) -> Response:
            refuse_unknown(request, known)
            strict = _StrictRequest(request.scope, request.receive)
            # Read here: what is raised inside FastAPI's own reading loses its meaning.
            if reads_body and await strict.body():
                kind = media_type(request)
                if kind != "application/json" and not kind.endswith("+json"):
                    raise UnsupportedMediaType("This call reads application/json.")
                await strict.json()
            return await inner(strict)

        return handle


def media_type(request: Request) -> str:
    """The body's media type, lower case, without parameters."""
    return request.headers.get("content-type", "").split(";")[0].strip().lower()


def stream(request: Request, *, limit: int = STREAM_LIMIT) -> Iterator[bytes]:
    """The body chunk by chunk, in a sync endpoint; gzip is undone, a byte order mark left out.

    Raises `TooLarge` past `limit` bytes.
    """
    parts = request.stream().__aiter__()
    chunks = _received(parts)
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding == "gzip":
        chunks = _inflated(chunks)
    elif encoding != "identity":
        raise Unreadable(f"The content encoding {encoding[:40]!r} is not read here; gzip is.")
    size = 0
    for chunk in _unmarked(chunks):
        size += len(chunk)
        if size > limit:
            raise TooLarge(f"The body is larger than {limit} bytes.")
        yield chunk


def _unmarked(chunks: Iterator[bytes]) -> Iterator[bytes]:
    start = b""
    for chunk in chunks:
        start += chunk
        if len(start) >= len(MARK):
            break
    yield start.removeprefix(MARK)
    yield from chunks


def _received(parts: Any) -> Iterator[bytes]:
    while True:
        try:
            chunk: bytes = anyio.from_thread.run(parts.__anext__)
        except StopAsyncIteration:
            return
        except ClientDisconnect as error:
            raise Unreadable("The body broke off.") from error
        if chunk:
            yield chunk


def _inflated(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The content of all members of a gzip body, one after another (RFC 1952, section 2.2).

    Zeros after a member are passed over, as gzip does: what writes in whole blocks fills the last one with them.
    """
    inflate = zlib.decompressobj(wbits=31)
    taken = given = 0
    try:
        for chunk in chunks:
            taken += len(chunk)
            waiting = chunk
            while waiting:
                if inflate.eof:
                    waiting = waiting.lstrip(b"\0")
                    if not waiting:
                        break
                    inflate = zlib.decompressobj(wbits=31)
                out = inflate.decompress(waiting, 1 << 20)
                given += len(out)
                if given > (1 << 20) + _RATIO * taken:
                    raise TooLarge("The body grows too much when it is decompressed.")
                yield out
                waiting = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
    except zlib.error as error:
        raise Unreadable("The body is not gzip.") from error
    if not inflate.eof:
        raise Unreadable("The gzip body ends too early.")


def lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of a stream, without their ends. Raises `TooLarge` for a line past 1 MiB."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole
        if len(rest) > LINE_LIMIT:
            raise TooLarge(f"A line is longer than {LINE_LIMIT} bytes.")
    if rest:
        yield rest


def ndjson_lines(chunks: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """(1-based line number, line); blank lines are passed over."""
    for number, line in enumerate(lines(chunks), 1):
        if stripped := line.strip():
            yield number, stripped


def not_empty(rows: Iterable[T]) -> Iterator[T]:
    """All rows of a body that must have one. Raises `Invalid` at the end of one without."""
    empty = True
    for row in rows:
        empty = False
        yield row
    if empty:
        raise Invalid("The body holds no row.", [FieldError("", "needs at least one row")])


def chunked(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of at most `size` items, in order."""
    iterator = iter(items)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk


def ndjson_answer(rows: Iterable[BaseModel | Mapping[str, Any]]) -> StreamingResponse:
    """Rows as NDJSON, streamed."""

    def encoded() -> Iterator[str]:
        for chunk in chunked(rows, 500):
            yield "".join(_json_line(row) for row in chunk)

    return StreamingResponse(encoded(), media_type="application/x-ndjson")


def _json_line(row: BaseModel | Mapping[str, Any]) -> str:
    text = (
        row.model_dump_json()
        if isinstance(row, BaseModel)
        else json.dumps(row, ensure_ascii=False, allow_nan=False, default=str)
    )
    return text + "\n"


def csv_answer(header: Sequence[str], rows: Iterable[Sequence[object]]) -> StreamingResponse:
    """Rows as CSV with a header, streamed."""

    def encoded() -> Iterator[str]:
        for chunk in chunked(itertools.chain([header], rows), 500):
            page = io.StringIO()
            csv.writer(page).writerows(chunk)
            yield page.getvalue()

    return StreamingResponse(encoded(), media_type="text/csv")
