"""What is personal in what is sent, and how it is kept: as a keyed hash, so that the same value can be recognised."""

import json
import re
from functools import lru_cache
from typing import Any

from shared.contact_data import is_phone
from shared.contracts.feedback import Event
from shared.hashing import keyed_hash

PERSONAL = frozenset(
    ["address", "birthdate", "birthday", "city", "dateofbirth", "email", "emailaddress", "firstname", "fullname", "ip",
     "ipaddress", "lastname", "mobile", "name", "password", "phone", "phonenumber", "postalcode", "street", "surname",
     "telephone", "text", "zip", "zipcode"]
)  # fmt: skip
PHONES = frozenset(["mobile", "msisdn", "phone", "phonenumber", "tel", "telephone", "whatsapp"])
E_MAIL = re.compile(r"[\w.%+\-]{1,64}(?:@|%40)[\w.\-]{1,190}\.[^\W\d_]{2,24}")
WRITTEN_PHONE = re.compile(r"\+\d[\d \-()/]{7,24}\d")
LEADING = ("+", "(", "＋", " ")  # how a telephone number in international form may begin
HASHED = re.compile(r"hashed:[0-9a-f]{16}")
FEWEST_DIGITS = 6  # of a telephone number without its country, where the name says that it is one


def hashed(value: str, secret: str) -> str:
    """What stands in the place of a personal value."""
    return f"hashed:{keyed_hash(secret, value).hex()[:16]}"


def alike(text: str) -> str:
    """The text with the same word for every hash: under another secret the same value has another hash."""
    return HASHED.sub("hashed", text)


def is_personal(name: str) -> bool:
    """Whether a field of this name holds what is personal, by the last part of a column's name `properties.email`."""
    return _plain(name) in PERSONAL


@lru_cache(maxsize=4096)
def _plain(name: str) -> str:
    return name.rpartition(".")[2].lower().replace("_", "").replace("-", "").replace(" ", "").replace("'", "")


def without_contact_data(event: Event, secret: str) -> Event:
    """The event as it may be kept: e-mail addresses and telephone numbers are keyed hashes; most events stay the same.

    It is not refused: a purchase or an unsubscribe counts whatever else the sender put beside it. Addresses are found
    anywhere in `text`, in texts of `properties` at any depth and in `event_id`; numbers in `text` after a +, in
    `properties` where one is the whole value, or stands under a name that says so. An order id of digits is none.
    """
    changed: dict[str, Any] = {}
    if event.properties and _are_suspicious(event.properties):
        changed["properties"] = {name: _field(name, value, secret) for name, value in event.properties.items()}
    if event.text is not None and ("@" in event.text or "+" in event.text or "%40" in event.text):
        changed["text"] = WRITTEN_PHONE.sub(lambda found: hashed(found.group(), secret), _mailless(event.text, secret))
    if event.event_id is not None and "@" in event.event_id:
        changed["event_id"] = _mailless(event.event_id, secret)
    return event.model_copy(update=changed) if changed else event


def holds_hashes(event: Event) -> bool:
    """Whether anything that is compared with what is kept was hashed."""
    return HASHED.search(event.text or "") is not None or HASHED.search(json.dumps(event.properties)) is not None


def _are_suspicious(properties: dict[str, Any]) -> bool:
    """A quick look, at every property of every event."""
    for name, value in properties.items():
        if type(value) is str:
            if "@" in value or value[:1] in LEADING or "%40" in value:
                return True
        elif type(value) is dict or type(value) is list:
            return True
        if _plain(name) in PHONES:
            return True
    return False


def _field(name: str, value: Any, secret: str) -> Any:
    if isinstance(value, dict):
        return {inner: _field(inner, item, secret) for inner, item in value.items()}
    if isinstance(value, list):
        return [_field(name, item, secret) for item in value]
    if isinstance(value, str | int) and not isinstance(value, bool) and _plain(name) in PHONES:
        digits = sum(character.isdigit() for character in str(value))
        return hashed(str(value), secret) if digits >= FEWEST_DIGITS else value
    if not isinstance(value, str):
        return value
    return hashed(value, secret) if value[:1] in LEADING and is_phone(value) else _mailless(value, secret)


def _mailless(text: str, secret: str) -> str:
    return E_MAIL.sub(lambda found: hashed(found.group(), secret), text)
