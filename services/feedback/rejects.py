"""What of a refused item is kept: enough to understand and mend it, without the personal fields it may hold."""

import json
import re
from typing import Any, NamedTuple

from services.feedback.personal import hashed, is_personal, is_written_phone, plain, without_addresses
from shared.contact_data import holds_contact_data

RAW_LIMIT = 16 * 1024
# A field in what is no JSON: its name, quoted somehow or not, and its value as far as it goes. A name begins where a
# word does, and nothing of it is given back (`+`), so that a long text without fields is passed through quickly.
FIELD = re.compile(
    r"""(?<![A-Za-z])([A-Za-z][\w .\-]{1,60}+)["']?\s{0,20}[:=]\s{0,20}"""
    r"""("(?:[^"\\]|\\.)*(?:"|\\?\Z)|'[^']*(?:'|\Z)|[^,}\]\r\n{\["']*)""",
    re.DOTALL | re.ASCII,
)
ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")
CUT_OFF = re.compile(r"(?:[^\s@<>,;\"]{1,64}@[^\s@<>,;\"]{0,253}|\+\d[\d \-()/]{0,24})\Z")  # an address without its end


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
    masked = _masked_item(raw, secret)[:RAW_LIMIT]
    return Kept(masked, masked == raw)


def _masked_item(raw: bytes, secret: str) -> bytes:
    try:
        found = json.loads(raw, object_pairs_hook=_named_once)
        masked = _masked(found, secret)
        return raw if masked == found else json.dumps(masked, ensure_ascii=False).encode("utf-8", "backslashreplace")
    except (ValueError, RecursionError):
        return _masked_text(raw, secret)


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names are its own; of a repeated name a value would be hidden, and kept as it is."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is repeated")
    return found


def _masked(value: Any, secret: str) -> Any:
    if isinstance(value, dict):
        return {_masked(name, secret): _masked_field(name, item, secret) for name, item in value.items()}
    if isinstance(value, list):
        return [_masked(item, secret) for item in value]
    if not isinstance(value, str):
        return value
    return hashed(value, secret) if is_written_phone(value) else without_addresses(value, secret)


def _masked_field(name: str, value: Any, secret: str) -> Any:
    if value is None or not _is_hidden(name, value):
        return _masked(value, secret)
    return hashed(value if isinstance(value, str) else json.dumps(value), secret)


def _is_hidden(name: str, value: Any) -> bool:
    """Whether nothing of a field is kept.

    It is personal, or refused as a customer's id because it is an address, or has no name that could tell: what stands
    in no column of a CSV.
    """
    return not name or is_personal(name) or (plain(name) == "customerid" and holds_contact_data(str(value)))


def _masked_text(raw: bytes, secret: str) -> bytes:
    """The same for what is no JSON. Where a personal value has an inside, nobody can tell its end: the rest goes."""
    text = raw[:RAW_LIMIT].decode("utf-8", "surrogateescape")
    told = ESCAPED.sub(_unescaped, text)
    parts, done = [], 0
    for found in FIELD.finditer(told):
        start, end = found.span(2)
        if not _is_hidden(found.group(1), found.group(2).strip("\"' ")):
            continue
        if told[end : end + 1] in ("{", "["):
            end = len(told)
        if end > max(start, done):
            parts += [told[done:start], hashed(told[start:end].strip("\"' "), secret)]
            done = end
    masked = without_addresses("".join([*parts, told[done:]]), secret)
    if len(raw) > RAW_LIMIT:
        masked = CUT_OFF.sub(lambda found: hashed(found.group(), secret), masked)
    return (text if masked == told else masked).encode("utf-8", "surrogateescape")


def _unescaped(found: re.Match[str]) -> str:
    """The letter that JSON wrote as its number, unless it would end a text or cannot be written as itself."""
    letter = chr(int(found.group(1), 16))
    return letter if letter.isprintable() and letter not in '"\\' else found.group()
