"""Addresses of people: brought into one form, then hashed with the installation's key. Pure."""

import re
import unicodedata

from shared.contact_data import PHONE, PHONE_MARKS
from shared.contact_data import holds_contact_data as holds_contact_data
from shared.hashing import keyed_hash

_EMAIL = re.compile(r"^[^\s@<>,;\"]+@[^\s@<>,;\"]+\.[^\s@<>,;\".]{2,}$")

CHANNELS = {"email": ("email",), "phone": ("sms", "phone")}
"""The channels that an address opens."""


def normalised_email(address: str) -> str:
    """Compatibility-normalised, without surrounding blanks, case folded. Raises ValueError."""
    text = unicodedata.normalize("NFKC", address).strip().casefold()
    if not _EMAIL.match(text):
        raise ValueError("is not an e-mail address")
    return text


def normalised_phone(number: str) -> str:
    """In international form (E.164): `+`, country and number. Raises ValueError.

    A national number is refused: without its country it would be another person's elsewhere.
    """
    found = PHONE.match(PHONE_MARKS.sub("", unicodedata.normalize("NFKC", number)))
    if found is None:
        raise ValueError("is not a telephone number that begins with + and its country")
    return f"+{found.group(1)}"


NORMALISED = {"email": normalised_email, "phone": normalised_phone}


def address_hash(secret: str, kind: str, address: str) -> bytes:
    """The keyed hash (32 bytes) of an address of `kind` email or phone. Raises ValueError for what is none."""
    return keyed_hash(secret, f"{kind}:{NORMALISED[kind](address)}")
