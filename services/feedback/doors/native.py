"""The door that speaks our own messages: one event, a list, NDJSON and CSV."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from services.feedback.doors import Item, Parsed, Refusal
from services.feedback.events import Registry
from shared.contact_data import holds_contact_data
from shared.contracts.base import in_words
from shared.contracts.feedback import Event
from shared.contracts.kinds import KindRule
from shared.csv_rows import CsvRow, damage
from shared.errors import FieldError, Unreadable
from shared.magnitudes import is_decimal

T = TypeVar("T")

MOST_ROWS = 5000  # of one chunk, and so of one transaction
MOST_BYTES = 8 * 1024 * 1024
ONE = TypeAdapter(Event)
MANY = TypeAdapter(list[Event])
PREFIX = "properties."  # a CSV column with this prefix is a property
TOKEN = re.compile(rb'"(?:[^"\\]+|\\.)*"|["\[\]{},]', re.DOTALL)


def is_single(body: bytes) -> bool:
    """Whether a JSON body holds one event rather than a list."""
    return body.lstrip(b" \t\r\n")[:1] == b"{"


def one(body: bytes) -> Event | list[FieldError]:
    """One event, or what is wrong with it. Raises `Unreadable` where the body is not JSON."""
    try:
        return ONE.validate_json(body)
    except ValidationError as error:
        found = _complaints(error)
        if found[0]["type"] == "json_invalid":
            raise Unreadable(f"The body is not JSON: {found[0]['ctx']['error']}.") from error
        return [_field_error(complaint) for complaint in found]


def many(body: bytes) -> Parsed:
    """A JSON list. It is read at one go where all is well, item by item where something is not.

    Raises `Unreadable` where the body is no list.
    """
    try:
        return Parsed([Item(place, event) for place, event in enumerate(MANY.validate_json(body))], [])
    except ValidationError:
        return _each((place, None, raw) for place, raw in enumerate(_split(body)))


def ndjson(lines: Iterable[tuple[int, bytes]]) -> Iterator[Parsed]:
    """Lines of NDJSON with their numbers, chunk by chunk."""
    for chunk in _chunks(lines, len):
        yield _each((place, number, raw) for place, (number, raw) in chunk)


def csv(rows: Iterable[tuple[int, CsvRow]], registry: Registry) -> Iterator[Parsed]:
    """Rows of CSV with their numbers, chunk by chunk.

    Columns are the fields of an event and `properties.<name>`; an empty cell is an absent field.
    """
    for chunk in _chunks(rows, lambda row: sum(map(len, row.cells.values()))):
        yield _of_rows(chunk, registry)


def _chunks(numbered: Iterable[tuple[int, T]], size: Callable[[T], int]) -> Iterator[list[tuple[int, tuple[int, T]]]]:
    """Items with their places, in lists that are bounded by their number and by their size in memory."""
    chunk: list[tuple[int, tuple[int, T]]] = []
    held = 0
    for placed in enumerate(numbered):
        chunk.append(placed)
        held += size(placed[1][1])
        if len(chunk) >= MOST_ROWS or held >= MOST_BYTES:
            yield chunk
            chunk, held = [], 0
    if chunk:
        yield chunk


def _of_rows(rows: Sequence[tuple[int, tuple[int, CsvRow]]], registry: Registry) -> Parsed:
    parsed = Parsed([], [])
    for place, (number, row) in rows:
        found = event_of_row(row, registry)
        if isinstance(found, Event):
            parsed.items.append(Item(place, found, number))
        else:
            raw = json.dumps(row.cells, ensure_ascii=False).encode("utf-8", "backslashreplace")
            parsed.refusals.append(Refusal(place, *found, raw, number))
    return parsed


def event_of_row(row: CsvRow, registry: Registry) -> Event | FieldError:
    """The event in a row of CSV, or what is wrong with it."""
    if row.fault is not None:
        return row.fault
    try:
        return Event.model_validate(_fields(row.cells, registry))
    except ValidationError as error:
        return first_complaint(error)


def event_of_kept(raw: bytes, registry: Registry) -> Event | FieldError:
    """The event in what was kept of a row: the row, where no event could be made of it, else the event it made.

    The kind may have been declared, or may ask for other types, since then: what stands as text is read again.
    """
    try:
        kept = json.loads(raw)
    except ValueError:
        return checked(raw)
    if not isinstance(kept, dict):
        return checked(raw)
    properties = kept.get("properties")
    if isinstance(properties, dict):
        rule = registry.get(kept.get("kind", ""))
        typed = {name: _read_again(name, value, rule) for name, value in properties.items()}
        return checked(json.dumps({**kept, "properties": typed}).encode())
    return event_of_row(CsvRow(kept, damage(kept)), registry)


def _read_again(name: str, value: Any, rule: KindRule | None) -> Any:
    expected = rule.properties.get(name) if rule else None
    return _typed(value, expected.type) if expected and isinstance(value, str) else value


def checked(raw: bytes) -> Event | FieldError:
    """The event in JSON, or what is wrong with it."""
    try:
        return ONE.validate_json(raw)
    except ValidationError as error:
        return first_complaint(error)


def _fields(cells: dict[str, str], registry: Registry) -> dict[str, Any]:
    rule = registry.get(cells.get("kind", ""))
    fields: dict[str, Any] = {}
    properties: dict[str, Any] = {}
    for column, cell in cells.items():
        if cell == "":
            continue
        if column.startswith(PREFIX):
            name = column.removeprefix(PREFIX)
            expected = rule.properties.get(name) if rule else None
            properties[name] = _typed(cell, expected.type if expected else "text")
        else:
            fields[column] = cell
    return {**fields, "properties": properties} if properties else fields


def _typed(cell: str, expected: str) -> str | int | float | bool:
    """A cell as the type that the kind expects; unchanged where it is not one (the kind's check then says so)."""
    if expected == "boolean":
        return {"true": True, "false": False}.get(cell.lower(), cell)
    if expected == "number" and is_decimal(cell):
        for read in (int, float):
            try:
                return read(cell)
            except ValueError:
                continue
    return cell


def _each(raws: Iterator[tuple[int, int | None, bytes]]) -> Parsed:
    items, refusals = [], []
    validate = ONE.validate_json
    for place, number, raw in raws:
        try:
            items.append(Item(place, validate(raw), number))
        except ValidationError as error:
            refusals.append(Refusal(place, *first_complaint(error), raw, number))
    return Parsed(items, refusals)


def _split(body: bytes) -> Iterator[bytes]:
    """The items of a JSON list as they came, found by their brackets alone: one that is no JSON spoils no other.

    Raises `Unreadable` where the brackets do not make one list.
    """
    text = body.strip(b" \t\r\n")
    if text[:1] != b"[":
        raise Unreadable("The body holds neither an event nor a list of events.")
    depth, start = 0, 1
    for token in TOKEN.finditer(text):
        mark = token.group()
        if mark in (b"[", b"{"):
            depth += 1
        elif mark in (b"]", b"}"):
            depth -= 1
        elif mark == b'"':
            raise Unreadable("The body is not JSON: a text has no end.")
        if (mark == b"," and depth == 1) or depth == 0:
            yield text[start : token.start()].strip()
            start = token.end()
        if depth == 0:
            break
    if depth or start != len(text) or text[-1:] != b"]":
        raise Unreadable("The body is not a JSON list: its brackets do not match.")


def first_complaint(error: ValidationError) -> FieldError:
    """What is wrong with an item, and where in it."""
    return _field_error(_complaints(error)[0])


def _complaints(error: ValidationError) -> list[ErrorDetails]:
    return error.errors(include_url=False, include_input=False)


def _field_error(complaint: ErrorDetails) -> FieldError:
    pointer = "".join(f"/{_shown(str(part))}" for part in complaint["loc"])
    detail = in_words(complaint["msg"])
    return FieldError(pointer.replace("\x00", "�")[:500], detail.replace("\x00", "�")[:500])


def _shown(name: str) -> str:
    """A field's name as it may be shown: it is an address where a file came without its header."""
    if holds_contact_data(name) or len(name) > 100 or not name.isprintable():
        return "(hidden name)"
    return name.replace("~", "~0").replace("/", "~1")
