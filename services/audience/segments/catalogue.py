"""What definitions may refer to, and what they refer to when they are evaluated."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from services.audience.segments.tree import references
from shared.contracts.audience import AttributeType
from shared.contracts.base import as_id
from shared.contracts.clauses import Clause
from shared.errors import FieldError, Invalid

MAX_CHAIN = 10
MAX_SEGMENTS = 100

# Fields that every event has, beside the properties that its kind declares.
EVENT_FIELDS = {
    "value": AttributeType.NUMBER,
    "category": AttributeType.TEXT,
    "currency": AttributeType.TEXT,
    "campaign": AttributeType.TEXT,
}


class Referenced(NamedTuple):
    """A segment that a definition refers to, in the version that is in force."""

    key: str
    version: int
    definition: Clause


@dataclass(frozen=True)
class Catalogue:
    """Types of attributes, properties of the kinds of event, segments by key (a text) and by id, and cut-offs.

    `cutoffs` holds those that were in force at the moment of evaluation.
    """

    attributes: Mapping[str, AttributeType] = field(default_factory=dict)
    kinds: Mapping[str, Mapping[str, AttributeType]] = field(default_factory=dict)
    segments: Mapping[str | UUID, Referenced] = field(default_factory=dict)
    cutoffs: Mapping[str, Decimal] = field(default_factory=dict)

    def property_type(self, kind: str, name: str) -> AttributeType | None:
        """The declared type of an event's field or property; None where there is none."""
        return EVENT_FIELDS.get(name) or self.kinds.get(kind, {}).get(name)

    def segment(self, reference: str) -> Referenced:
        """What a reference, a key or an id in any case, stands for. Raises `Invalid` where there is no such segment."""
        found = self.segments.get(as_id(reference) or reference) or self.segments.get(reference)
        if found is None:
            raise Invalid(f"There is no segment {reference}.")
        return found


def referred(definition: Clause, catalogue: Catalogue, own: str | None = None) -> list[Referenced]:
    """Every segment that a definition refers to, directly or through others; those that others need come first.

    `own` is the key of the segment that the definition belongs to. Raises `Invalid` for a reference to a segment that
    does not exist, a circle (named), and chains or numbers of segments past the limits; `errors` point at the
    reference in `definition` that leads there.
    """
    finished: dict[str, Referenced] = {}
    for path, reference in references(definition):
        try:
            _follow(reference, catalogue, finished, [own] if own else [])
        except Invalid as error:
            detail = error.detail.rstrip(".")
            raise Invalid(error.detail, [FieldError(f"{path}/segment", detail[0].lower() + detail[1:])]) from error
    return list(finished.values())


def _follow(reference: str, catalogue: Catalogue, finished: dict[str, Referenced], way: list[str]) -> None:
    found = None if reference in way else catalogue.segment(reference)
    if found is None or found.key in way:
        key = reference if found is None else found.key
        circle = " → ".join([*way[way.index(key) :], key])
        raise Invalid(f"The segment refers to itself: {circle}.")
    if found.key in finished:
        return
    if len(way) >= MAX_CHAIN:
        raise Invalid(f"More than {MAX_CHAIN} segments refer to each other in a chain: {' → '.join(way)}.")
    for _, following in references(found.definition):
        _follow(following, catalogue, finished, [*way, found.key])
    finished[found.key] = found
    if len(finished) > MAX_SEGMENTS:
        raise Invalid(f"The definition needs more than {MAX_SEGMENTS} other segments.")
