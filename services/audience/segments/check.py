"""Whether a definition makes sense against the catalogue: names that exist, types that fit, no circles."""

from collections.abc import Iterator
from typing import Any

from services.audience.segments.catalogue import EVENT_FIELDS, Catalogue, referred
from services.audience.segments.measures import OF_NUMBERS, ZERO_WITHOUT_EVENTS, comparison, measure_type
from services.audience.segments.tree import children, walk
from services.audience.segments.values import read, type_of
from shared.contact_data import holds_contact_data, texts
from shared.contracts.audience import AttributeType
from shared.contracts.base import NO_ADDRESS
from shared.contracts.clauses import AttributeClause, Clause, ConsentClause, EventClause, Measure, TraitClause
from shared.contracts.comparisons import OF_TEXT, OF_TIME, ORDERING, PRESENCE, Operator
from shared.contracts.scopes import CHANNELS, PURPOSES
from shared.errors import FieldError, Invalid

_A = {
    AttributeType.NUMBER: "a number",
    AttributeType.TEXT: "text",
    AttributeType.BOOLEAN: "true or false",
    AttributeType.DATE: "a date",
    AttributeType.INSTANT: "an instant",
}
_WRITTEN = {
    AttributeType.DATE: " such as 2024-02-29",
    AttributeType.INSTANT: " with a zone, such as 2024-02-29T09:30:00Z",
}
_SUITS: dict[tuple[Operator, ...], tuple[AttributeType, ...]] = {
    ORDERING: (AttributeType.NUMBER, AttributeType.DATE, AttributeType.INSTANT),
    OF_TEXT: (AttributeType.TEXT,),
    (Operator.ANNIVERSARY_IN,): (AttributeType.DATE,),
    OF_TIME: (AttributeType.DATE, AttributeType.INSTANT),
}


def check(definition: Clause, catalogue: Catalogue, own: str | None = None, in_force: Clause | None = None) -> None:
    """Before a definition is kept: refuse one that cannot be evaluated, or that says what is no longer taken.

    `own` is the key of the segment it is for, and `in_force` what that says now: a clause of it may stay as it is,
    whatever release let it in. Raises `Invalid` with one error for each clause that is wrong, at most 100; their
    pointers are into a body that holds the definition as `definition`.
    """
    kept = [] if in_force is None else [clause for _, clause in walk(in_force)]
    found = problems(definition, catalogue) or _not_taken(definition, catalogue, kept)
    _refuse(found or _of_references(definition, catalogue, own))


def check_once(definition: Clause, catalogue: Catalogue) -> None:
    """Before a definition is evaluated that nobody keeps; it may be one that is stored. Raises `Invalid` as `check`."""
    _refuse(problems(definition, catalogue) or _of_references(definition, catalogue, None))


def _refuse(found: list[FieldError]) -> None:
    if found:
        pointed = [FieldError(f"/definition{one.pointer}", one.detail) for one in found[:100]]
        raise Invalid("The definition does not fit the catalogue.", pointed)


def _not_taken(definition: Clause, catalogue: Catalogue, kept: list[Clause]) -> list[FieldError]:
    """What can be evaluated, but is refused of a clause that is not `kept`: earlier releases took it."""
    return [
        FieldError(node.path + pointer, detail)
        for node in walk(definition)
        if not children(node) and node.clause not in kept
        for pointer, detail in _not_taken_of(node.clause, catalogue)
    ]


def _not_taken_of(clause: Clause, catalogue: Catalogue) -> Iterator[FieldError]:
    told = clause.model_dump(mode="json", by_alias=True)
    for place, text in texts(told):
        if holds_contact_data(text):  # it would be kept in words, and with every list
            yield FieldError(place, NO_ADDRESS)
    if isinstance(clause, AttributeClause) and "zone" in clause.model_fields_set:
        of_days = catalogue.attributes.get(clause.attribute) is AttributeType.DATE and clause.is_ in OF_TIME
        if not of_days:  # who names one means it
            yield FieldError(
                "/zone", "only calendar days, counted from now, have a zone: of a date, by an operator of time"
            )
    if isinstance(clause, EventClause) and clause.of is not None:
        of_time = catalogue.property_type(clause.event, clause.of) is AttributeType.INSTANT
        if of_time:  # only `distinct` comes here: one instant may be there in several forms
            yield FieldError("/of", _as_it_came(clause.of))


def _as_it_came(name: str) -> str:
    """Times in events are kept as they came, so that they neither compare nor sort."""
    return f"{name} is a time, which can only exist or be missing"


def check_still(definition: Clause, catalogue: Catalogue) -> None:
    """Before a stored definition is evaluated: raises `Invalid`, naming what does not fit the catalogue any more."""
    found = problems(definition, catalogue) or _of_references(definition, catalogue, None)
    if found:
        where = found[0].pointer or "the whole"
        raise Invalid(f"The segment's definition is not valid any more: at {where}: {found[0].detail}.")


def problems(definition: Clause, catalogue: Catalogue) -> list[FieldError]:
    """What is wrong with a definition's own clauses; pointers into the definition. Empty where all is well."""
    return [
        FieldError(path + pointer, detail)
        for path, clause in walk(definition)
        for pointer, detail in _of_clause(clause, catalogue)
    ]


def _of_references(definition: Clause, catalogue: Catalogue, own: str | None) -> list[FieldError]:
    try:
        needed = referred(definition, catalogue, own)
    except Invalid as error:
        return list(error.errors)
    return [
        FieldError("", f"refers to the segment {segment.key}, which is not valid any more: {pointer}: {detail}")
        for segment in needed
        for pointer, detail in problems(segment.definition, catalogue)[:1]
    ]


def _of_clause(clause: Clause, catalogue: Catalogue) -> Iterator[FieldError]:
    if isinstance(clause, AttributeClause):
        kind = catalogue.attributes.get(clause.attribute)
        if kind is None:
            yield FieldError("/attribute", f"there is no attribute {clause.attribute} in the catalogue")
        else:
            yield from _of_comparison(clause.attribute, kind, clause.is_, clause.value)
    elif isinstance(clause, TraitClause):
        yield from _of_trait(clause, catalogue)
    elif isinstance(clause, EventClause):
        yield from _of_event(clause, catalogue)
    elif isinstance(clause, ConsentClause):
        if clause.consent not in CHANNELS:
            yield FieldError("/consent", f"is no channel; channels are {', '.join(CHANNELS)}")
        if clause.purpose not in PURPOSES:
            yield FieldError("/purpose", f"is no purpose; purposes are {', '.join(PURPOSES)}")


def _of_comparison(name: str, kind: AttributeType, operator: Operator, value: Any) -> Iterator[FieldError]:
    """What is wrong with comparing something of this type; pointers into the clause or condition."""
    for operators, kinds in _SUITS.items():
        if operator in operators and kind not in kinds:
            yield FieldError("/is", f"{operator} compares {_either(kinds)}; {name} is {_A[kind]}")
            return
    if operator in PRESENCE:
        return
    if operator in OF_TIME:
        days = value if isinstance(value, list) else [value]
        if kind is AttributeType.DATE and any(day != int(day) for day in days):
            yield FieldError("/value", f"must be whole days, because {name} is a date")
        return
    for pointer, item in _items(value):
        if read(kind, item) is None:
            yield FieldError(f"/value{pointer}", f"must be {_A[kind]}{_WRITTEN.get(kind, '')}, as {name} is")
            return
    if operator is Operator.BETWEEN and _falls(kind, value):
        yield FieldError("/value", "must not end before it begins")


def _either(kinds: tuple[AttributeType, ...]) -> str:
    *others, last = (_A[kind] for kind in kinds)
    return f"{', '.join(others)} or {last}" if others else last


def _items(value: Any) -> list[tuple[str, Any]]:
    return [(f"/{index}", item) for index, item in enumerate(value)] if isinstance(value, list) else [("", value)]


def _falls(kind: AttributeType, value: list[Any]) -> bool:
    first: Any = read(kind, value[0])
    return bool(first > read(kind, value[1]))


def _of_trait(clause: TraitClause, catalogue: Catalogue) -> Iterator[FieldError]:
    if clause.cutoff is not None:
        if clause.cutoff not in catalogue.cutoffs:
            yield FieldError("/cutoff", f"there is no cut-off {clause.cutoff} at the time of evaluation")
        elif clause.cutoff.partition(":")[0] != clause.trait:
            yield FieldError("/cutoff", f"is a cut-off of another trait than {clause.trait}")
    elif clause.is_ in OF_TIME:
        yield FieldError("/is", "traits are numbers, text, true or false; they have no time")
    elif clause.is_ not in PRESENCE:
        yield from _of_comparison(clause.trait, type_of(clause.value), clause.is_, clause.value)


def _of_event(clause: EventClause, catalogue: Catalogue) -> Iterator[FieldError]:
    if clause.event not in catalogue.kinds:
        yield FieldError("/event", f"there is no kind of event {clause.event}")
        return
    for name, condition in clause.where.items():
        place = "/where/" + name.replace("~", "~0").replace("/", "~1")
        kind = catalogue.property_type(clause.event, name)
        if kind is None:
            yield FieldError(place, _undeclared(clause.event, name))
        elif kind is AttributeType.INSTANT and condition.is_ not in PRESENCE:
            yield FieldError(f"{place}/is", _as_it_came(name))
        else:
            wrong = _of_comparison(name, kind, condition.is_, condition.value)
            yield from (FieldError(place + pointer, detail) for pointer, detail in wrong)
    yield from _of_measure(clause, catalogue)


def _undeclared(event: str, name: str) -> str:
    fields = ", ".join(EVENT_FIELDS)
    return f"{event} declares no property {name}, so its type is not known; every event has {fields}"


def _of_measure(clause: EventClause, catalogue: Catalogue) -> Iterator[FieldError]:
    if clause.of is not None:
        kind = catalogue.property_type(clause.event, clause.of)
        if kind is None:
            yield FieldError("/of", _undeclared(clause.event, clause.of))
            return
        if clause.measure in OF_NUMBERS and kind is not AttributeType.NUMBER:
            yield FieldError("/of", f"{clause.measure} needs a number; {clause.of} is {_A[kind]}")
            return
        if kind is AttributeType.INSTANT and clause.measure is not Measure.DISTINCT:
            yield FieldError("/of", _as_it_came(clause.of))
            return
    operator, value = comparison(clause)
    if operator in PRESENCE and clause.measure in ZERO_WITHOUT_EVENTS:
        yield FieldError("/is", f"{clause.measure} always exists; without events it is 0")
        return
    measured = measure_type(clause, catalogue.property_type)
    if measured is not None:
        yield from _of_comparison(f"the {clause.measure}", measured, operator, value)
