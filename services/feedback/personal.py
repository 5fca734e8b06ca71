"""What is personal in what is sent, and how it is kept: as a keyed hash, so that the same value can be recognised."""

import json
import re
from functools import lru_cache
from typing import Any

from shared.contact_data import WRITTEN_PHONE, e_mails, is_phone, may_hold_e_mail, without_local_end
from shared.contracts.feedback import Event
from shared.hashing import keyed_hash

PHONES = frozenset(["mobile", "msisdn", "phone", "phonenumber", "tel", "telephone", "whatsapp"])
PERSONAL = PHONES | frozenset(
    ["address", "birthdate", "birthday", "city", "dateofbirth", "email", "emailaddress", "firstname", "fullname", "ip",
     "ipaddress", "lastname", "name", "password", "postalcode", "street", "surname", "text", "zip", "zipcode"]
)  # fmt: skip
LEADING = ("+", "(", "＋", " ")  # how a telephone number in international form may begin
HASHED = re.compile(r"hashed:[0-9a-f]{16}")
FEWEST_DIGITS = 6  # of a telephone number without its country, where the name says that it is one
EARLIER_E_MAIL = re.compile(r"[\w.%+\-]{1,64}(?:@|%40)[\w.\-]{1,190}\.[^\W\d_]{2,24}")
"""What was hashed of event ids with an @ before more of addresses was known: never to be changed."""


def hashed(value: str, secret: str) -> str:
    """What stands in the place of a personal value."""
    return f"hashed:{keyed_hash(secret, value).hex()[:16]}"


def alike(text: str) -> str:
    """The text with the same word for every hash, and for what may be left of an address before it.

    Under another secret the same value has another hash, and an earlier release hashed less of some addresses.
    """
    *before, rest = HASHED.split(text)
    return "".join([*(f"{without_local_end(part)}hashed" for part in before), rest])


def is_personal(name: str) -> bool:
    """Whether a field of this name holds what is personal, by the last part of a column's name `properties.email`."""
    return plain(name) in PERSONAL


@lru_cache(maxsize=4096)
def plain(name: str) -> str:
    """A field's name however it is written: `properties.e-mail_2` is `email`, and so is `Emails`."""
    found = re.sub(r"[_\-' ]", "", name.rpartition(".")[2]).lower().rstrip("0123456789")
    return next((one for end in ("s", "es") if (one := found.removesuffix(end)) in PERSONAL), found)


@lru_cache(maxsize=4096)
def _is_telling(name: str) -> bool:
    """Whether a name says that a telephone number is below it, or may be an address itself."""
    return plain(name) in PHONES or may_hold_e_mail(name) or name[:1] in LEADING


def without_contact_data(event: Event, secret: str) -> Event:
    """The event as it may be kept: e-mail addresses and telephone numbers are keyed hashes; most events stay the same.

    It is not refused: a purchase or an unsubscribe counts whatever else the sender put beside it. Addresses are found
    anywhere in `text`, in names and texts of `properties` at any depth and in `event_id`; numbers in `text` after a +,
    in `properties` where one is the whole value or name, or stands below a name that says so. An order id of digits is
    none.
    """
    changed: dict[str, Any] = {}
    if event.properties and _are_suspicious(event.properties):
        changed["properties"] = _kept(event.properties, secret, phone=False)
    if event.text is not None and (may_hold_e_mail(event.text) or "+" in event.text):
        changed["text"] = without_addresses(event.text, secret)
    if event.event_id is not None and may_hold_e_mail(event.event_id):
        changed["event_id"] = _mailless(event.event_id, secret)
    return event.model_copy(update=changed) if changed else event


def without_addresses(text: str, secret: str) -> str:
    """A text with hashes for the e-mail addresses in it and for the telephone numbers after a +."""
    return WRITTEN_PHONE.sub(lambda found: hashed(found.group(), secret), _mailless(text, secret))


def earlier_id(event_id: str, secret: str) -> str:
    """The id under which an earlier release kept the event that was sent as `event_id`."""
    return EARLIER_E_MAIL.sub(lambda found: hashed(found.group(), secret), event_id) if "@" in event_id else event_id


def holds_hashes(event: Event) -> bool:
    """Whether anything that is compared with what is kept was hashed."""
    return HASHED.search(event.text or "") is not None or HASHED.search(json.dumps(event.properties)) is not None


def _are_suspicious(properties: dict[str, Any]) -> bool:
    """A quick look, at every property of every event."""
    for name, value in properties.items():
        if type(value) is str:
            if not value.isalnum() and (value[:1] in LEADING or may_hold_e_mail(value)):
                return True
        elif type(value) is dict or type(value) is list:
            return True
        if _is_telling(name):
            return True
    return False


def _kept(value: Any, secret: str, *, phone: bool) -> Any:
    """`phone`: a name above says that a telephone number is here."""
    if isinstance(value, dict):
        return dict(_kept_field(name, item, secret, phone) for name, item in value.items())
    if isinstance(value, list):
        return [_kept(item, secret, phone=phone) for item in value]
    if phone and isinstance(value, str | int) and not isinstance(value, bool):
        digits = sum(character.isdigit() for character in str(value))
        if digits >= FEWEST_DIGITS:
            return hashed(str(value), secret)
    return _text(value, secret) if isinstance(value, str) else value


def _kept_field(name: str, value: Any, secret: str, phone: bool) -> tuple[str, Any]:
    if _is_telling(name):
        return _text(name, secret), _kept(value, secret, phone=phone or plain(name) in PHONES)
    return name, _kept(value, secret, phone=phone)


def _text(text: str, secret: str) -> str:
    return hashed(text, secret) if is_written_phone(text) else _mailless(text, secret)


def is_written_phone(text: str) -> bool:
    """Whether a text is a telephone number and nothing else, written as no order id is: after + or a bracket."""
    return text[:1] in LEADING and is_phone(text)


def _mailless(text: str, secret: str) -> str:
    if not may_hold_e_mail(text):
        return text
    parts, done = [], 0
    for start, end in e_mails(text):
        parts += [text[done:start], hashed(text[start:end], secret)]
        done = end
    return "".join([*parts, text[done:]])
