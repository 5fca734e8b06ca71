"""E-mail addresses and telephone numbers, recognised where they do not belong. Pure."""

import re
import unicodedata
from collections.abc import Iterator
from typing import Any

PHONE_MARKS = re.compile(r"[\s().\-/]+")
PHONE = re.compile(r"^(?:\+|00)([1-9][0-9]{7,14})$", re.ASCII)
WRITTEN_PHONE = re.compile(r"\+\d[\d \-()/]{7,24}\d")
"""A telephone number in international form somewhere in a text."""

# Letters that Python's \w lacks: accents set apart (as Macs write them), vowel signs, bytes that are no UTF-8.
_MARKS = r"\u0300-\u036f\u0900-\u109f\udc80-\udcff"
# In an address before the @: all but what stands around addresses, or between the parts of a link (/ ? & =).
_LOCAL = r"[^\s@<>,;:\"()\[\]\\=&?/]"
_FROM_THE_AT = re.compile(rf"(?:[@＠]|%(?:25){{0,2}}40)[\w.\-{_MARKS}]{{1,253}}\.(?:[^\W\d_]|[{_MARKS}]){{2,24}}")
_UP_TO_THE_AT = re.compile(rf"(?:[\w+{_MARKS}]{_LOCAL}*|[^\s@<>,;\"])\Z")
_LOCAL_END = re.compile(rf"{_LOCAL}+\Z")
_LONGEST_LOCAL = 64


def may_hold_e_mail(text: str) -> bool:
    """A quick look: where it says no, there is no e-mail address."""
    return "@" in text or "%" in text or "＠" in text


def e_mails(text: str) -> Iterator[tuple[int, int]]:
    """Where e-mail addresses begin and end, also as a link holds them (`ada%40example.com`).

    It looks back from each @, so that no text takes longer than its length.
    """
    done = 0
    for found in _FROM_THE_AT.finditer(text):
        local = _UP_TO_THE_AT.search(text, max(done, found.start() - _LONGEST_LOCAL), found.start())
        if local is not None:
            done = found.end()
            yield local.start(), done


def without_local_end(text: str) -> str:
    """The text without what would belong to an address that goes on behind it."""
    return text[:-_LONGEST_LOCAL] + _LOCAL_END.sub("", text[-_LONGEST_LOCAL:])


def holds_contact_data(text: str) -> bool:
    """Whether a text has an e-mail address in it, or is a telephone number in international form."""
    if may_hold_e_mail(text) and next(e_mails(text), None) is not None:
        return True
    return text.lstrip()[:1] in ("+", "0", "(", "＋") and is_phone(text)


def texts(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """The texts in a JSON value, each after its place (RFC 6901); names of fields are none.

    >>> list(texts({"where": {"a/b": [1, "x"]}}))
    [('/where/a~1b/1', 'x')]
    """
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, list | dict):
        for name, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from texts(item, f"{place}/{str(name).replace('~', '~0').replace('/', '~1')}")


def is_phone(text: str) -> bool:
    """Whether a text is a telephone number in international form, after + or 00, and nothing else."""
    return len(text) <= 40 and PHONE.match(PHONE_MARKS.sub("", unicodedata.normalize("NFKC", text))) is not None
