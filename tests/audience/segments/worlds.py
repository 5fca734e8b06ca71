"""Customers and definitions drawn at random, and the customers in a database that forgets them afterwards."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import sqlalchemy as sa
from hypothesis import strategies as st
from pydantic import TypeAdapter

from services.audience.permission import Statement
from services.audience.segments.catalogue import Catalogue, Referenced
from services.audience.segments.match import Portrait, TraitValue
from services.audience.segments.measures import SeenEvent
from services.audience.segments.sql import members_select
from shared.contracts.audience import AttributeType
from shared.contracts.clauses import Clause, Definition
from shared.contracts.permissions import ConsentState

AS_OF = datetime(2026, 3, 15, 10, 30, tzinfo=UTC)
FIRST_ID = str(UUID(int=7))
ATTRIBUTES = {
    "age": AttributeType.NUMBER,
    "city": AttributeType.TEXT,
    "vip": AttributeType.BOOLEAN,
    "birthday": AttributeType.DATE,
    "joined": AttributeType.INSTANT,
}
KINDS = {
    "order": {"category": AttributeType.TEXT, "size": AttributeType.NUMBER, "gift": AttributeType.BOOLEAN},
    "view": {"category": AttributeType.TEXT, "page": AttributeType.TEXT, "seen": AttributeType.INSTANT},
}
CUTOFFS = {"clv:top20": Decimal("2.5"), "clv:top50": Decimal(1)}
NUMBERS = st.sampled_from(
    [-5, 0, 1, 2, 3, 2.5, 0.1, 0.2, 0.30000000000000004, 1e6, 5 * 10**18, 2**63 - 1, 12345678901234567890]
)
TEXTS = st.sampled_from(["Lyon", "Porto", "ly", "'; drop table audience.customer; --", "🎈 ballon", "%_\\", "%", "é"])
DATES = st.sampled_from(
    ["1984-02-29", "1990-03-15", "1990-03-20", "2026-03-14", "2026-03-15", "2026-03-16", "2026-03-08", "2026-02-13"]
)
EDGES = st.sampled_from([0, 1, 7, 30, 90, -1, 3.5]).flatmap(
    lambda days: st.sampled_from([0, 1, -1]).map(lambda tick: timedelta(days=days, microseconds=tick))
)
INSTANTS = EDGES.map(lambda before: AS_OF - before)
STORED = INSTANTS.map(lambda instant: instant.isoformat().replace("+00:00", "Z"))
TIMES = st.sampled_from(  # as feedback takes them: whatever `datetime.fromisoformat` reads with a zone
    ["2026-03-01T12:00:00Z", "2026-03-01T13:00:00+01:00", "2026-03-01 12:00Z", "20260301T120000.123456789Z"]
)
# A property of an event may hold what its kind did not declare when the event came.
MISFITS = st.sampled_from([None, "", "Lyon", "7", 7, True, [], ["Lyon"], {"a": 1}])
VALUES = {
    AttributeType.NUMBER: NUMBERS,
    AttributeType.TEXT: TEXTS,
    AttributeType.BOOLEAN: st.booleans(),
    AttributeType.DATE: DATES,
    AttributeType.INSTANT: STORED,
}
DAYS = st.sampled_from([1, 7, 30, 90])
READ: TypeAdapter[Clause] = TypeAdapter(Definition)


class World(NamedTuple):
    """A definition, what it refers to, and customers by id."""

    definition: Clause
    catalogue: Catalogue
    portraits: dict[str, Portrait]


def _some(types: dict[str, AttributeType]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional={name: VALUES[kind] for name, kind in types.items()})


def _properties(types: dict[str, AttributeType]) -> st.SearchStrategy[dict[str, Any]]:
    told = VALUES | {AttributeType.INSTANT: TIMES}
    drawn = {name: st.one_of(told[kind], told[kind], MISFITS) for name, kind in types.items()}
    return st.fixed_dictionaries({}, optional=drawn)


def _traits() -> st.SearchStrategy[dict[str, TraitValue]]:
    def trait(values: st.SearchStrategy[Any]) -> st.SearchStrategy[TraitValue]:
        return st.builds(TraitValue, values, st.sampled_from([AS_OF - timedelta(days=1), AS_OF, AS_OF + timedelta(1)]))

    mixed = st.one_of(NUMBERS, TEXTS, st.booleans())
    return st.fixed_dictionaries({}, optional={"clv": trait(NUMBERS), "mood": trait(mixed)})


@st.composite
def _event(draw: st.DrawFn) -> SeenEvent:
    kind = draw(st.sampled_from(sorted(KINDS)))
    properties = draw(_properties(KINDS[kind]))
    category = properties.get("category")
    value = draw(st.one_of(st.none(), NUMBERS))
    return SeenEvent(
        event_id=draw(st.text("abc", min_size=1, max_size=3)),
        kind=kind,
        occurred_at=draw(INSTANTS),
        value=None if value is None else Decimal(str(value)),
        category=category if isinstance(category, str) else None,
        currency=draw(st.sampled_from([None, "EUR"])),
        campaign=draw(st.sampled_from([None, "spring"])),
        properties=properties,
    )


@st.composite
def _statement(draw: st.DrawFn, instants: st.SearchStrategy[datetime] = INSTANTS) -> Statement:
    state = draw(st.sampled_from(ConsentState))
    every = [None] if state.refuses else []
    brand, channel, purpose = (
        draw(st.sampled_from([*every, *names]))
        for names in (("default", "Default", "other"), ("email", "sms"), ("marketing",))
    )
    expires = draw(st.one_of(st.none(), INSTANTS)) if state.permits else None
    return Statement(brand, channel, purpose, state, draw(instants), expires)


def _statements(statement: st.SearchStrategy[Statement], most: int) -> st.SearchStrategy[list[Statement]]:
    return st.lists(statement, max_size=most, unique_by=lambda one: (*one[:3], one.state, one.at))


def portraits() -> st.SearchStrategy[Portrait]:
    return st.builds(
        Portrait,
        attributes=_some(ATTRIBUTES),
        filled=_some(ATTRIBUTES),
        traits=_traits(),
        events=st.lists(_event(), max_size=6, unique_by=lambda event: event.event_id),
        statements=_statements(_statement(), 3),
        profiling=st.sampled_from([True, True, False]),
    )


def contradicting() -> st.SearchStrategy[Portrait]:
    """A customer about whom several things were said at the same few instants."""
    instants = st.sampled_from([AS_OF, AS_OF - timedelta(days=1), AS_OF + timedelta(days=1)])
    return st.builds(Portrait, *map(st.just, ({}, {}, {}, [])), _statements(_statement(instants), 5))


def _in_order(values: list[Any]) -> list[Any]:
    """Instants by the time they tell: as texts a fraction of a second stands before none."""
    return sorted(values, key=lambda value: datetime.fromisoformat(value) if isinstance(value, str) else value)


@st.composite
def comparisons(draw: st.DrawFn, kind: AttributeType) -> dict[str, Any]:
    """`is` and `value` for something of this type."""
    values = VALUES[kind]
    forms: list[st.SearchStrategy[tuple[str, Any]]] = [
        st.tuples(st.sampled_from(["eq", "ne"]), values),
        st.tuples(st.sampled_from(["in", "not_in"]), st.lists(values, min_size=1, max_size=3)),
        st.tuples(st.sampled_from(["exists", "missing"]), st.none()),
    ]
    if kind in (AttributeType.NUMBER, AttributeType.DATE, AttributeType.INSTANT):
        forms.append(st.tuples(st.sampled_from(["lt", "lte", "gt", "gte"]), values))
        forms.append(st.tuples(st.just("between"), st.lists(values, min_size=2, max_size=2).map(_in_order)))
    if kind is AttributeType.TEXT:
        forms.append(st.tuples(st.sampled_from(["contains", "starts_with"]), values))
    if kind in (AttributeType.DATE, AttributeType.INSTANT):
        forms.append(st.tuples(st.sampled_from(["within_last", "within_next"]), DAYS))
        forms.append(st.tuples(st.just("between_ago"), st.sampled_from([[90, 30], [7, 0], [30, 1]])))
    if kind is AttributeType.DATE:
        forms.append(st.tuples(st.just("anniversary_in"), DAYS))
    operator, value = draw(st.one_of(forms))
    return {"is": operator} if value is None else {"is": operator, "value": value}


@st.composite
def _attribute_clause(draw: st.DrawFn) -> dict[str, Any]:
    name = draw(st.sampled_from(sorted(ATTRIBUTES)))
    zone = {"zone": draw(st.sampled_from(["UTC", "Pacific/Kiritimati"]))}
    return {"attribute": name, "filled": draw(st.booleans()), **draw(comparisons(ATTRIBUTES[name])), **zone}


@st.composite
def _trait_clause(draw: st.DrawFn) -> dict[str, Any]:
    if draw(st.booleans()):
        operator = draw(st.sampled_from(["lt", "lte", "gt", "gte"]))
        return {"trait": "clv", "is": operator, "cutoff": draw(st.sampled_from(sorted(CUTOFFS)))}
    kind = draw(st.sampled_from([AttributeType.NUMBER, AttributeType.TEXT, AttributeType.BOOLEAN]))
    return {"trait": draw(st.sampled_from(["clv", "mood"])), **draw(comparisons(kind))}


@st.composite
def _where(draw: st.DrawFn, kind: str) -> dict[str, Any]:
    types = {
        **KINDS[kind],
        "value": AttributeType.NUMBER,
        "currency": AttributeType.TEXT,
        "campaign": AttributeType.TEXT,
    }
    names = draw(st.lists(st.sampled_from(sorted(types)), max_size=2, unique=True))
    presence = st.sampled_from([{"is": "exists"}, {"is": "missing"}])
    return {
        name: draw(presence if types[name] is AttributeType.INSTANT else comparisons(types[name])) for name in names
    }


WINDOWS = st.one_of(
    DAYS.map(lambda days: {"within_days": days}),
    st.sampled_from([{"between_ago": [90, 30]}, {"between_ago": [7, 0]}, {"ever": True}, {}]),
    st.sampled_from(["day", "week", "month", "quarter", "year"]).flatmap(
        lambda calendar: st.sampled_from([0, -1]).map(
            lambda offset: {"during": {"calendar": calendar, "offset": offset, "zone": "Europe/Paris"}}
        )
    ),
    st.just({"between": ["2026-02-13T10:30:00Z", "2026-03-15T10:30:00Z"]}),
)


@st.composite
def event_clauses(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(sorted(KINDS)))
    clause = {"event": kind, "where": draw(_where(kind)), **draw(WINDOWS)}
    measure = draw(
        st.sampled_from(["", "count", "sum", "avg", "min", "max", "distinct", "first", "last", "days_since_last"])
    )
    if not measure:
        return clause
    clause["measure"] = measure
    types = {**KINDS[kind], "value": AttributeType.NUMBER}
    number = AttributeType.NUMBER
    if measure in ("sum", "avg", "min", "max") and kind == "order" and draw(st.booleans()):
        clause["of"] = "size"
    if measure == "distinct" or (measure in ("first", "last") and draw(st.booleans())):
        clause["of"] = draw(st.sampled_from(sorted(name for name in types if types[name] is not AttributeType.INSTANT)))
    compared = number
    if measure in ("first", "last"):
        compared = types[clause["of"]] if "of" in clause else AttributeType.INSTANT
    comparison = draw(comparisons(compared))
    if measure in ("count", "sum", "distinct") and comparison["is"] in ("exists", "missing"):
        comparison = {"is": "gte", "value": 0}
    return {**clause, **comparison}


CONSENTS = st.fixed_dictionaries(
    {"consent": st.sampled_from(["email", "sms"]), "purpose": st.just("marketing")},
    optional={
        "brand": st.sampled_from(["default", "other"]),
        "state": st.lists(
            st.sampled_from([state.value for state in ConsentState]), min_size=1, max_size=4, unique=True
        ),
    },
)


def leaves() -> st.SearchStrategy[dict[str, Any]]:
    return st.one_of(_attribute_clause(), _trait_clause(), event_clauses(), event_clauses(), CONSENTS)


def trees(leaf: st.SearchStrategy[dict[str, Any]], size: int = 6) -> st.SearchStrategy[dict[str, Any]]:
    def grown(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
        several = st.lists(inner, min_size=1, max_size=3)
        return st.one_of(
            several.map(lambda clauses: {"all": clauses}),
            several.map(lambda clauses: {"any": clauses}),
            inner.map(lambda clause: {"not": clause}),
        )

    return st.recursive(leaf, grown, max_leaves=size).filter(_shallow)


def _shallow(tree: dict[str, Any]) -> bool:
    return json.dumps(tree).count("not") < 8


def _reference(*names: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.sampled_from(names).map(lambda name: {"segment": name})


@st.composite
def worlds(
    draw: st.DrawFn,
    definitions: st.SearchStrategy[dict[str, Any]] | None = None,
    customers: st.SearchStrategy[Portrait] | None = None,
) -> World:
    """A definition that may refer to the segments `first` and `second`, the latter to the former, and customers."""
    first = Referenced("first", 1, READ.validate_python(draw(trees(leaves(), 3))))
    second = Referenced("second", 3, READ.validate_python(draw(trees(st.one_of(leaves(), _reference("first")), 3))))
    references = _reference("first", FIRST_ID, "second")
    given = draw(trees(st.one_of(leaves(), leaves(), leaves(), references)) if definitions is None else definitions)
    segments = {"first": first, UUID(FIRST_ID): first, "second": second}
    catalogue = Catalogue(ATTRIBUTES, KINDS, segments, CUTOFFS)
    found = draw(st.lists(portraits() if customers is None else customers, min_size=1, max_size=8))
    return World(READ.validate_python(given), catalogue, {f"segments-{n}": one for n, one in enumerate(found)})


@contextmanager
def stored(engine: sa.Engine, found: dict[str, Portrait]) -> Iterator[sa.Connection]:
    """The customers in the database, in a transaction that is taken back at the end."""
    with engine.connect() as connection:
        transaction = connection.begin()
        _insert(connection, found)
        try:
            yield connection
        finally:
            transaction.rollback()


def members(connection: sa.Connection, world: World, definition: Clause | None = None) -> set[str]:
    """Who of the world's customers the database says is meant."""
    select = members_select(definition or world.definition, AS_OF, world.catalogue)
    rows = [row[0] for row in connection.execute(select)]
    assert len(rows) == len(set(rows)), "a customer came twice"
    return set(rows) & set(world.portraits)


CUSTOMER = sa.text("""
    insert into audience.customer (customer_id, attributes, filled, traits, profiling, known_at, updated_at)
    values (:id, cast(:attributes as jsonb), cast(:filled as jsonb), cast(:traits as jsonb), :profiling, :at, :at)
""")
EVENT = sa.text("""
    insert into feedback.event (customer_id, event_id, kind, category, occurred_at, received_at, value, currency,
                                properties, campaign, batch_id)
    values (:id, :event_id, :kind, :category, :occurred_at, :occurred_at, :value, :currency, cast(:properties as jsonb),
            :campaign, 0)
""")
CONSENT = sa.text("""
    insert into audience.consent (customer_id, brand, channel, purpose, at, state, source, expires_at, recorded_at)
    values (:id, :brand, :channel, :purpose, :at, :state, 'test', :expires_at, :at)
""")


def _insert(connection: sa.Connection, found: dict[str, Portrait]) -> None:
    def rows(statement: sa.TextClause, values: Sequence[dict[str, Any]]) -> None:
        if values:
            connection.execute(statement, values)

    rows(CUSTOMER, [_customer(name, portrait) for name, portrait in found.items()])
    rows(EVENT, [_event_row(name, event) for name, portrait in found.items() for event in portrait.events])
    rows(CONSENT, [_consent_row(name, one) for name, portrait in found.items() for one in portrait.statements])


def _customer(name: str, portrait: Portrait) -> dict[str, Any]:
    traits = {
        trait: {"value": found.value, "computed_at": found.computed_at.isoformat(), "model": "test"}
        for trait, found in portrait.traits.items()
    }
    return {
        "id": name,
        "attributes": json.dumps(portrait.attributes),
        "filled": json.dumps(portrait.filled),
        "traits": json.dumps(traits),
        "profiling": portrait.profiling,
        "at": AS_OF - timedelta(days=500),
    }


def _event_row(name: str, event: SeenEvent) -> dict[str, Any]:
    return {"id": name, **event._asdict(), "properties": json.dumps(event.properties)}


def _consent_row(name: str, statement: Statement) -> dict[str, Any]:
    scope = {part: getattr(statement, part) or "*" for part in ("brand", "channel", "purpose")}
    return {"id": name, **scope, "at": statement.at, "state": statement.state.value, "expires_at": statement.expires_at}
