"""Whether one customer is meant, and why: the language decided by plain Python, clause by clause."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from services.audience import clock
from services.audience.permission import Scope, Statement, deciding
from services.audience.segments.catalogue import Catalogue, referred
from services.audience.segments.measures import SeenEvent, comparison, measure, measure_type, shown
from services.audience.segments.tree import walk
from services.audience.segments.values import Moment, holds, looked_at, type_of
from shared.contracts.audience import AttributeType
from shared.contracts.clauses import (
    All,
    AnyOf,
    AttributeClause,
    Clause,
    ConsentClause,
    EventClause,
    Not,
    SegmentClause,
    TraitClause,
)
from shared.contracts.permissions import ConsentState


class TraitValue(NamedTuple):
    """A derived value and the time it is of."""

    value: Any
    computed_at: datetime


class Portrait(NamedTuple):
    """What is known of one customer: attributes as told and as filled, traits, events, statements about permission.

    Without `profiling` the customer objects to it, and the traits count as missing.
    """

    attributes: Mapping[str, Any]
    filled: Mapping[str, Any]
    traits: Mapping[str, TraitValue]
    events: Sequence[SeenEvent]
    statements: Sequence[Statement]
    profiling: bool = True


class Verdict(NamedTuple):
    """Whether a clause holds of the customer, and what was found to decide it."""

    path: str
    clause: Clause
    satisfied: bool
    found: Any


def matches(definition: Clause, portrait: Portrait, as_of: datetime, catalogue: Catalogue) -> bool:
    """Whether the customer is meant at `as_of`. The definition must fit the catalogue (see `check`)."""
    return _Evaluation(portrait, as_of, catalogue, definition).decide(definition)[0]


def explain(definition: Clause, portrait: Portrait, as_of: datetime, catalogue: Catalogue) -> list[Verdict]:
    """A verdict on every clause, outer ones first; the first one is on the definition as a whole."""
    evaluation = _Evaluation(portrait, as_of, catalogue, definition)
    return [Verdict(path, clause, *evaluation.decide(clause)) for path, clause in walk(definition)]


class _Evaluation:
    def __init__(self, portrait: Portrait, as_of: datetime, catalogue: Catalogue, definition: Clause) -> None:
        self.portrait = portrait
        self.as_of = as_of
        self.catalogue = catalogue
        self.member_of: dict[str, bool] = {}
        for segment in referred(definition, catalogue):
            self.member_of[segment.key] = self.decide(segment.definition)[0]

    def decide(self, clause: Clause) -> tuple[bool, Any]:
        """(whether the clause holds, what was found)."""
        if isinstance(clause, All):
            return all(self.decide(inner)[0] for inner in clause.all), None
        if isinstance(clause, AnyOf):
            return any(self.decide(inner)[0] for inner in clause.any), None
        if isinstance(clause, Not):
            return not self.decide(clause.not_)[0], None
        if isinstance(clause, AttributeClause):
            return self._attribute(clause)
        if isinstance(clause, TraitClause):
            return self._trait(clause)
        if isinstance(clause, EventClause):
            return self._event(clause)
        if isinstance(clause, SegmentClause):
            member = self.member_of[self.catalogue.segment(clause.segment).key]
            return member, member
        return self._consent(clause)

    def _attribute(self, clause: AttributeClause) -> tuple[bool, Any]:
        raw = self.portrait.attributes.get(clause.attribute)
        if raw is None and clause.filled:
            raw = self.portrait.filled.get(clause.attribute)
        kind = self.catalogue.attributes[clause.attribute]
        found = looked_at(clause.is_, kind, raw)
        return holds(clause.is_, found, clause.value, kind, Moment(self.as_of, clause.zone)), raw

    def _trait(self, clause: TraitClause) -> tuple[bool, Any]:
        trait = self.portrait.traits.get(clause.trait)
        usable = trait is not None and self.portrait.profiling and trait.computed_at <= self.as_of
        raw = trait.value if trait is not None and usable else None
        value = clause.value if clause.cutoff is None else self.catalogue.cutoffs[clause.cutoff]
        kind = type_of(value)
        return holds(clause.is_, looked_at(clause.is_, kind, raw), value, kind, Moment(self.as_of)), raw

    def _event(self, clause: EventClause) -> tuple[bool, Any]:
        types = self.catalogue.property_type
        found = measure(clause, self.portrait.events, self.as_of, types)
        kind = measure_type(clause, types) or AttributeType.TEXT
        return holds(*_asked(clause, found), kind, Moment(self.as_of)), shown(found)

    def _consent(self, clause: ConsentClause) -> tuple[bool, Any]:
        scope = Scope(clause.brand, clause.consent, clause.purpose)
        heard = [one for one in self.portrait.statements if one.at <= self.as_of + clock.REFUSAL_AHEAD]
        # Of statements equal in all else that decides, the last state by the alphabet is shown.
        told = sorted(heard, key=lambda one: _state(one, self.as_of).value, reverse=True)
        holding = deciding(told, scope, self.as_of)
        state = ConsentState.UNKNOWN if holding is None else _state(holding, self.as_of)
        return state in clause.state, state.value


def _state(statement: Statement, as_of: datetime) -> ConsentState:
    expired = statement.state.permits and not statement.permits(as_of)
    return ConsentState.EXPIRED if expired else statement.state


def _asked(clause: EventClause, found: Any) -> tuple[Any, Any, Any]:
    operator, value = comparison(clause)
    return operator, found, value
