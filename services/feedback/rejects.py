"""What of a refused item is kept: enough to understand and mend it, without the personal fields it may hold."""

import json
import re
from typing import Any, NamedTuple

from services.feedback.personal import hashed, is_personal

RAW_LIMIT = 16 * 1024
E_MAIL = re.compile(rb"[A-Za-z0-9._%+\-]{1,64}@[A-Za-z0-9.\-]{1,190}")
LONG_NUMBER = re.compile(rb"\+\d[\d \-()/]{7,24}\d")
# A field in what is no JSON: its name, quoted somehow or not, and its value as far as it goes.
FIELD = re.compile(
    rb"""["']?([A-Za-z][\w .\-]{1,60})["']?\s{0,20}[:=]\s{0,20}"""
    rb"""("(?:[^"\\]|\\.)*(?:"|\\?\Z)|'[^']*(?:'|\Z)|[^,}\]\r\n{\["']*)""",
    re.DOTALL,
)


class Kept(NamedTuple):
    """`whole`: the raw bytes are all that came, nothing hashed and nothing cut off, so that they can be retried."""

    raw: bytes
    whole: bool


def kept(raw: bytes, secret: str) -> Kept:
    """What is stored of a refused item.

    Values of personal fields (by name, at any depth, as far as they can be told in what is no JSON), e-mail addresses
    and telephone numbers become `hashed:` and a keyed hash, so that the same value can still be recognised; past
    16 KiB the rest is cut off.
    """
    masked = _masked_json(raw, secret)
    if len(raw) > RAW_LIMIT:
        masked = masked[:RAW_LIMIT]
    for pattern in (E_MAIL, LONG_NUMBER):
        masked = pattern.sub(lambda found: hashed(found.group().decode(), secret).encode(), masked)
    return Kept(masked[: 2 * RAW_LIMIT], masked == raw)


def _masked_json(raw: bytes, secret: str) -> bytes:
    try:
        found = json.loads(raw, object_pairs_hook=_named_once)
        masked = _masked(found, secret)
        return raw if masked == found else json.dumps(masked, ensure_ascii=False).encode("utf-8", "backslashreplace")
    except (ValueError, RecursionError):
        return _masked_text(raw[:RAW_LIMIT], secret)


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names are its own; of a repeated name a value would be hidden, and kept as it is."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is repeated")
    return found


def _masked(value: Any, secret: str) -> Any:
    if isinstance(value, dict):
        return {name: _masked_field(name, item, secret) for name, item in value.items()}
    if isinstance(value, list):
        return [_masked(item, secret) for item in value]
    return value


def _masked_field(name: str, value: Any, secret: str) -> Any:
    if is_personal(name) and value is not None:
        return hashed(json.dumps(value), secret)
    return _masked(value, secret)


def _masked_text(raw: bytes, secret: str) -> bytes:
    """The same for what is no JSON. Where a personal value has an inside, nobody can tell its end: the rest goes."""
    parts, done = [], 0
    for found in FIELD.finditer(raw):
        start, end = found.span(2)
        if not is_personal(found.group(1).decode()):
            continue
        if raw[end : end + 1] in (b"{", b"["):
            end = len(raw)
        if end > max(start, done):
            parts += [raw[done:start], hashed(raw[start:end].decode("utf-8", "replace"), secret).encode()]
            done = end
    return b"".join([*parts, raw[done:]])
