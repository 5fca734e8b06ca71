"""What of a load can be kept: rows are checked against the catalogue, and addresses hashed, as they arrive. Pure."""

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

from pydantic import ValidationError

from services.audience import clock
from services.audience.catalogue import Check, checks_of
from services.audience.identity import CHANNELS, address_hash, holds_contact_data
from shared.contracts.audience import CustomerRow, Identities, NewAttribute, PortraitChange, Scalar
from shared.contracts.base import NO_ADDRESS, in_words
from shared.contracts.permissions import ConsentStatement, NewConsent, NewContactPoint
from shared.errors import FieldError
from shared.magnitudes import is_decimal

REASONS_OF_A_ROW = 20
LARGEST_DOUBLE = sys.float_info.max
_CONSENT = re.compile(r"^/consents/(\d+)(/|$)")


class Point(NamedTuple):
    """What is said of a contact point, ready to be stored; None where nothing is said."""

    channel: str
    handle: str | None = None
    address_hash: bytes | None = None
    status: str | None = None
    verified_at: str | None = None

    def then(self, later: "Point") -> "Point":
        """Both as one: the later one counts wherever it speaks. Another address begins without a status."""
        earlier = self._replace(status=None) if later.is_another_than(self) else self
        said = {field: value for field, value in later._asdict().items() if value is not None}
        return earlier._replace(**said)

    def is_another_than(self, known: "Point") -> bool:
        """Whether it names another address: by the address where both say it, else by the handle; never by a guess."""
        if self.address_hash is not None and known.address_hash is not None:
            return self.address_hash != known.address_hash
        return None not in (self.handle, known.handle) and self.handle != known.handle


class Screened(NamedTuple):
    """What a row says, checked: attributes as they are kept (None deletes), addresses as hashes."""

    customer_id: str
    attributes: dict[str, Scalar | None]
    profiling: bool | None
    points: list[Point]
    consents: list[NewConsent]


class Refused(NamedTuple):
    """Why a row is not kept, and as much of it as may be."""

    errors: list[FieldError]
    content: dict[str, object]


class Screen:
    """Screens rows against a catalogue at `now`. `hashed` gives the keyed hash of any text, `secret` keys addresses."""

    def __init__(
        self, catalogue: Mapping[str, NewAttribute], secret: str, hashed: Callable[[str], str], now: datetime
    ) -> None:
        self._catalogue = catalogue
        self._checks: dict[str, Check] = checks_of(catalogue)
        self._secret = secret
        self._hashed = hashed
        self._now = now

    def row(self, raw: object) -> Screened | Refused:
        """One row of a load, as JSON gave it."""
        if not isinstance(raw, dict):
            return Refused([FieldError("", "must be an object")], {})
        try:
            row = CustomerRow.model_validate(raw)
        except ValidationError as error:
            told = [_told(one["loc"], one["msg"]) for one in error.errors()]
            wrong = {str(one["loc"][0]) for one in error.errors()} | {"customer_id"}
            rest = PortraitChange.model_validate({name: part for name, part in raw.items() if name not in wrong})
            _, _, more = self.change(rest)  # whoever mends the row wants to know of everything at once
            return Refused((told + more)[:REASONS_OF_A_ROW], self.kept(raw))
        attributes, points, errors = self.change(row)
        if holds_contact_data(row.customer_id):
            errors.insert(0, FieldError("/customer_id", NO_ADDRESS))
        if errors:
            return Refused(errors[:REASONS_OF_A_ROW], self.kept(raw))
        return Screened(row.customer_id, attributes, row.profiling, points, row.consents)

    def change(self, row: PortraitChange) -> tuple[dict[str, Scalar | None], list[Point], list[FieldError]]:
        """The attributes and contact points of a change, and everything that is wrong with it."""
        attributes, wrong_attributes = self._attributes(row.attributes)
        points, wrong_addresses = self._points(row)
        quoted = [
            error for index, one in enumerate(row.consents) for error in faults(one, self._now, f"/consents/{index}")
        ]
        return attributes, points, wrong_attributes + wrong_addresses + quoted

    def _attributes(self, given: Mapping[str, object]) -> tuple[dict[str, Scalar | None], list[FieldError]]:
        kept: dict[str, Scalar | None] = {}
        errors = []
        for name, value in given.items():
            check = self._checks.get(name)
            try:
                if check is None:
                    raise ValueError("is not declared in the attribute catalogue")
                kept[name] = None if value is None else check(value)
            except ValueError as error:
                errors.append(FieldError(f"/attributes/{_name(name)}", str(error)))
        return kept, errors

    def _points(self, row: PortraitChange) -> tuple[list[Point], list[FieldError]]:
        points = [_said(point) for point in row.contact_points]
        errors = [
            FieldError(f"/contact_points/{index}/handle", NO_ADDRESS)
            for index, point in enumerate(row.contact_points)
            if point.handle is not None and holds_contact_data(point.handle)
        ]
        identities = row.identities or Identities()
        for kind, address in (("email", identities.email), ("phone", identities.phone)):
            if address is None:
                continue
            try:
                digest = address_hash(self._secret, kind, address)
            except ValueError as error:
                errors.append(FieldError(f"/identities/{kind}", str(error)))
            else:
                points += [Point(channel, address_hash=digest) for channel in CHANNELS[kind]]
        return points, errors

    def kept(self, raw: Mapping[str, object]) -> dict[str, object]:
        """A refused row as it may be stored: personal values as keyed hashes, undeclared ones not at all."""
        content: dict[str, object] = {}
        if "customer_id" in raw:
            content["customer_id"] = self._safe(raw["customer_id"])
        attributes = raw.get("attributes")
        if isinstance(attributes, dict):
            content["attributes"] = {
                name: self._hash_of(value) if self._catalogue[name].personal else self._safe(value)
                for name, value in attributes.items()
                if name in self._catalogue
            }
        identities = raw.get("identities")
        if isinstance(identities, dict):
            content["identities"] = {kind: self._hash_of(identities[kind]) for kind in CHANNELS if kind in identities}
        return content

    def _safe(self, value: object) -> object:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int | float):
            return value if abs(value) < 10**8 else self._hash_of(value)  # a telephone number is one, too
        if isinstance(value, str) and len(value) <= 200 and value.isprintable() and not holds_contact_data(value):
            return value
        return self._hash_of(value)

    def _hash_of(self, value: object) -> object:
        return None if value is None else f"hashed:{self._hashed(str(value).strip())}"


def _told(location: tuple[int | str, ...], message: str) -> FieldError:
    return FieldError("".join(f"/{_name(str(part))}" for part in location), in_words(message))


def _name(name: str) -> str:
    """A field's name as it may be shown: it can hold an address when a file came without its header."""
    if holds_contact_data(name) or len(name) > 100 or "\x00" in name or not name.isprintable():
        return "(hidden name)"
    return name.replace("~", "~0").replace("/", "~1")


def _said(point: NewContactPoint) -> Point:
    return Point(
        point.channel,
        point.handle,
        bytes.fromhex(point.address_hash) if point.address_hash else None,
        point.status.value if "status" in point.model_fields_set else None,
        point.verified_at.isoformat() if point.verified_at else None,
    )


def faults(statement: ConsentStatement, now: datetime, place: str = "") -> list[FieldError]:
    """What is wrong with a statement about permission at `now`; `place` points at the statement.

    It must not quote an address, nor come from the future: it would outlast every later one. Only a refusal may be
    stamped by a clock that runs hours ahead: it errs on the customer's side, a permission would bring itself back after
    a withdrawal.
    """
    fields = {"source": statement.source, "wording": statement.wording, "evidence": statement.evidence}
    found = [
        FieldError(f"{place}/{field}", NO_ADDRESS)
        for field, value in fields.items()
        if any(holds_contact_data(text) for text in _texts(value))
    ]
    ahead, told = (clock.REFUSAL_AHEAD, "a day") if statement.state.refuses else (clock.TOLERANCE, "five minutes")
    if statement.at is not None and statement.at > now + ahead:
        found.append(FieldError(f"{place}/at", f"must not lie more than {told} ahead"))
    return found


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield str(name)
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def from_csv(row: Mapping[str, str], catalogue: Mapping[str, NewAttribute]) -> dict[str, object]:
    """A CSV row as the JSON row it stands for. An empty cell says nothing.

    Columns: `customer_id`, `email`, `phone`, `profiling`, `consent.{channel}.{purpose}` with a state, and attributes.
    """
    out: dict[str, object] = {}
    attributes: dict[str, object] = {}
    identities: dict[str, object] = {}
    consents: list[dict[str, object]] = []
    for column, cell in row.items():
        text = cell.strip()
        if not text:
            continue
        if column in ("email", "phone"):
            identities[column] = text
        elif column == "customer_id":
            out["customer_id"] = text
        elif column == "profiling":
            out["profiling"] = _boolean(text)
        elif column.startswith("consent."):
            channel, _, purpose = column.removeprefix("consent.").partition(".")
            consents.append({"channel": channel, "purpose": purpose, "state": text, "source": "file"})
        elif column == "":
            out["more fields than the header names"] = None
        else:
            attributes[column] = _typed(text, catalogue.get(column))
    parts = {"attributes": attributes, "identities": identities, "consents": consents}
    return out | {name: part for name, part in parts.items() if part}


def by_column(error: FieldError, row: Mapping[str, str]) -> FieldError:
    """An error in what `from_csv` made of a row: consents have no place of their own in a file, their columns do."""
    place = _CONSENT.match(error.pointer)
    if place is None:
        return error
    said = [column for column, cell in row.items() if column.startswith("consent.") and cell.strip()]
    return FieldError(f"/{_name(said[int(place.group(1))])}", error.detail)


def _typed(text: str, definition: NewAttribute | None) -> object:
    if definition is not None and definition.type == "number" and is_decimal(text):
        if text.lstrip("+-").isdigit() and len(text) < 30:
            return int(text)
        return min(max(float(text), -LARGEST_DOUBLE), LARGEST_DOUBLE)  # beyond doubles: its check says it is too large
    if definition is not None and definition.type == "boolean":
        return _boolean(text)
    return text


def _boolean(text: str) -> object:
    return {"true": True, "1": True, "false": False, "0": False}.get(text.lower(), text)
