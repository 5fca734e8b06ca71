"""E-mail addresses and telephone numbers, recognised where they do not belong. Pure."""

import re
import unicodedata

PHONE_MARKS = re.compile(r"[\s().\-/]+")
PHONE = re.compile(r"^(?:\+|00)([1-9][0-9]{7,14})$", re.ASCII)
_EMAIL_INSIDE = re.compile(r"[^\s@<>,;\"]+@[^\s@<>,;\"]+\.[^\s@<>,;\".]{2,}")


def holds_contact_data(text: str) -> bool:
    """Whether a text has an e-mail address in it, or is a telephone number in international form."""
    if "@" in text and _EMAIL_INSIDE.search(text):
        return True
    return text.lstrip()[:1] in ("+", "0", "(", "＋") and is_phone(text)


def is_phone(text: str) -> bool:
    """Whether a text is a telephone number in international form, after + or 00, and nothing else."""
    return len(text) <= 40 and PHONE.match(PHONE_MARKS.sub("", unicodedata.normalize("NFKC", text))) is not None
