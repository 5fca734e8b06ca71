"""What of a refused item is kept: enough to understand and mend it, without the personal fields it may hold."""

import json
import re
from typing import Any, NamedTuple

from shared.hashing import keyed_hash

RAW_LIMIT = 16 * 1024
PERSONAL = frozenset(
    ["address", "birthdate", "birthday", "city", "dateofbirth", "email", "emailaddress", "firstname", "fullname", "ip",
     "ipaddress", "lastname", "mobile", "name", "password", "phone", "phonenumber", "postalcode", "street", "surname",
     "telephone", "text", "zip", "zipcode"]
)  # fmt: skip
E_MAIL = re.compile(rb"[A-Za-z0-9._%+\-]{1,64}@[A-Za-z0-9.\-]{1,190}")
LONG_NUMBER = re.compile(rb"\+\d[\d \-()/]{7,24}\d")


class Kept(NamedTuple):
    """`whole`: the raw bytes are all that came, nothing hashed and nothing cut off, so that they can be retried."""

    raw: bytes
    whole: bool


def kept(raw: bytes, secret: str) -> Kept:
    """What is stored of a refused item.

    Values of personal fields (by name, at any depth), e-mail addresses and telephone numbers become
    `hashed:` and a keyed hash, so that the same value can still be recognised; past 16 KiB the rest is cut off.
    """
    masked = _masked_json(raw, secret) if len(raw) <= RAW_LIMIT else raw[:RAW_LIMIT]
    for pattern in (E_MAIL, LONG_NUMBER):
        masked = pattern.sub(lambda found: _hashed(found.group().decode(), secret).encode(), masked)
    return Kept(masked[: 2 * RAW_LIMIT], masked == raw)


def _masked_json(raw: bytes, secret: str) -> bytes:
    try:
        found = json.loads(raw)
        masked = _masked(found, secret)
        return raw if masked == found else json.dumps(masked, ensure_ascii=False).encode("utf-8", "backslashreplace")
    except (ValueError, RecursionError):  # no JSON: patterns alone must do
        return raw


def _masked(value: Any, secret: str) -> Any:
    if isinstance(value, dict):
        return {name: _masked_field(name, item, secret) for name, item in value.items()}
    if isinstance(value, list):
        return [_masked(item, secret) for item in value]
    return value


def _masked_field(name: str, value: Any, secret: str) -> Any:
    if _is_personal(name) and value is not None:
        return _hashed(json.dumps(value), secret)
    return _masked(value, secret)


def _is_personal(name: str) -> bool:
    plain = name.rpartition(".")[2]  # of a CSV column `properties.email`
    return plain.lower().replace("_", "").replace("-", "").replace(" ", "") in PERSONAL


def _hashed(value: str, secret: str) -> str:
    return f"hashed:{keyed_hash(secret, value).hex()[:16]}"
