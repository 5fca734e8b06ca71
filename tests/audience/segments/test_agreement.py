"""The database and plain Python agree on every customer."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.audience.permission import Statement
from services.audience.segments.catalogue import Catalogue
from services.audience.segments.match import Portrait, explain, matches
from services.audience.segments.measures import SeenEvent
from services.audience.segments.sql import Preview, overlap_select
from services.audience.segments.sql.counting import GROUPED
from services.audience.segments.tree import walk
from shared.contracts.clauses import AttributeClause, Not, TraitClause
from shared.contracts.permissions import ConsentState
from tests.audience.segments.worlds import (
    AS_OF,
    CONSENTS,
    KINDS,
    READ,
    World,
    contradicting,
    event_clauses,
    leaves,
    members,
    stored,
    worlds,
)

often = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
seldom = settings(often, max_examples=20)


def meant(world: World, definition=None) -> set[str]:
    rule = definition or world.definition
    return {name for name, one in world.portraits.items() if matches(rule, one, AS_OF, world.catalogue)}


def read(given_definition):
    return READ.validate_python(given_definition)


@often
@given(worlds())
def test_sql_means_exactly_the_customers_that_python_means(owner_engine, world):
    with stored(owner_engine, world.portraits) as connection:
        assert members(connection, world) == meant(world)


@often
@given(worlds(leaves()))
def test_sql_means_exactly_the_customers_that_python_means_by_a_single_clause(owner_engine, world):
    with stored(owner_engine, world.portraits) as connection:
        assert members(connection, world) == meant(world)


@often
@given(worlds(CONSENTS, contradicting()))
def test_of_contradicting_statements_sql_and_python_follow_the_same(owner_engine, world):
    with stored(owner_engine, world.portraits) as connection:
        assert members(connection, world) == meant(world)


def ordered(*values) -> list[SeenEvent]:
    return [SeenEvent(str(n), "order", AS_OF - timedelta(days=1), Decimal(value)) for n, value in enumerate(values)]


def viewed(*seen) -> list[SeenEvent]:
    at = AS_OF - timedelta(days=1)
    return [SeenEvent(str(n), "view", at, properties={"seen": one}) for n, one in enumerate(seen)]


MOST = 2**63 - 1
AVERAGE = {"event": "order", "measure": "avg"}
SEEN = {"event": "view", "where": {"seen": {"is": "exists"}}}
FORMS = {"event": "view", "measure": "distinct", "of": "seen", "is": "eq"}  # as an earlier release took it


@pytest.mark.parametrize(
    ("clause", "events", "is_meant"),
    [
        (AVERAGE | {"is": "gt", "value": 5 * 10**18}, ordered(MOST, 1), False),
        (AVERAGE | {"is": "gte", "value": 5 * 10**18}, ordered(MOST, MOST), True),
        (AVERAGE | {"is": "in", "value": [2, MOST]}, ordered(MOST, MOST), True),
        (SEEN, viewed("2024-01-01T01:00Z"), True),
        (SEEN, viewed("2024-01-01 01:00:00Z"), True),
        (SEEN, viewed("2024-01-01T01:00:00.123456789Z"), True),
        (SEEN, viewed(7), True),
        (SEEN, viewed(None), False),
        (FORMS | {"value": 2}, viewed("2024-01-01T01:00Z", "2024-01-01T01:00:00Z", "2024-01-01T01:00Z", 7), True),
    ],
)
def test_sql_and_python_agree_on_large_numbers_and_on_what_a_property_holds(owner_engine, clause, events, is_meant):
    portraits = {"segments-0": Portrait({}, {}, {}, events, [])}
    world = World(read(clause), Catalogue(kinds=KINDS), portraits)
    with stored(owner_engine, portraits) as connection:
        assert members(connection, world) == meant(world) == ({"segments-0"} if is_meant else set())


TICK = timedelta(microseconds=1)


@pytest.mark.parametrize(("ahead", "permits"), [(timedelta(days=1), False), (timedelta(days=1) + TICK, True)])
def test_a_definition_of_the_past_knows_no_refusal_of_later_days(owner_engine, ahead, permits):
    scope = ("default", "email", "marketing")
    said = [
        Statement(*scope, ConsentState.GRANTED, AS_OF - timedelta(days=500)),
        Statement(*scope, ConsentState.WITHDRAWN, AS_OF + ahead),
    ]
    portraits = {"segments-0": Portrait({}, {}, {}, [], said)}
    world = World(read({"consent": "email", "purpose": "marketing"}), Catalogue(), portraits)
    with stored(owner_engine, portraits) as connection:
        assert members(connection, world) == meant(world) == ({"segments-0"} if permits else set())


PARIS_MONTH = {"calendar": "month", "offset": -1, "zone": "Europe/Paris"}


@pytest.mark.parametrize(
    ("clause", "start", "end"),
    [
        ({}, None, AS_OF),
        ({"ever": True}, None, AS_OF),
        ({"within_days": 7}, AS_OF - timedelta(days=7), AS_OF),
        ({"between_ago": [30, 7]}, AS_OF - timedelta(days=30), AS_OF - timedelta(days=7)),
        ({"during": PARIS_MONTH}, datetime(2026, 1, 31, 23, tzinfo=UTC), datetime(2026, 2, 28, 23, tzinfo=UTC)),
        ({"during": {"calendar": "day"}}, datetime(2026, 3, 15, tzinfo=UTC), AS_OF),
        ({"between": ["2026-01-01T00:00:00Z", "2199-01-01T00:00:00Z"]}, datetime(2026, 1, 1, tzinfo=UTC), AS_OF),
    ],
)
def test_every_window_holds_its_start_and_not_its_end(owner_engine, clause, start, end):
    at = {"before the end": end - TICK, "at the end": end, "after the end": end + TICK}
    if start is not None:
        at |= {"before the start": start - TICK, "at the start": start, "after the start": start + TICK}
    portraits = {name: Portrait({}, {}, {}, [SeenEvent("1", "order", instant)], []) for name, instant in at.items()}
    world = World(read({"event": "order", **clause}), Catalogue(kinds={"order": {}}), portraits)
    with stored(owner_engine, portraits) as connection:
        found = members(connection, world)
    inside = {"before the end", "at the start", "after the start"} & at.keys()
    assert found == meant(world) == inside


@seldom
@given(worlds())
def test_a_definition_and_its_complement_share_nobody_and_miss_nobody(owner_engine, world):
    complement = read({"not": world.definition.model_dump(mode="json")})
    with stored(owner_engine, world.portraits) as connection:
        inside, outside = members(connection, world), members(connection, world, complement)
    assert inside | outside == set(world.portraits)
    assert not inside & outside


@seldom
@given(worlds(), leaves())
def test_not_all_is_any_not(owner_engine, world, other):
    pair = [world.definition.model_dump(mode="json"), other]
    not_all = read({"not": {"all": pair}})
    any_not = read({"any": [{"not": clause} for clause in pair]})
    with stored(owner_engine, world.portraits) as connection:
        assert members(connection, world, not_all) == members(connection, world, any_not)


@seldom
@given(worlds(), event_clauses(), st.sampled_from([(1, 7), (7, 30), (30, 90)]), st.integers(1, 3))
def test_a_longer_window_never_loses_who_did_something_often_enough(owner_engine, world, event, days, times):
    counted = {key: event[key] for key in ("event", "where")} | {"measure": "count", "is": "gte", "value": times}
    shorter, longer = (read({**counted, "within_days": d}) for d in days)
    with stored(owner_engine, world.portraits) as connection:
        assert members(connection, world, shorter) <= members(connection, world, longer)


@seldom
@given(worlds())
def test_an_explanation_agrees_with_membership_and_its_groups_with_their_clauses(world):
    for portrait in world.portraits.values():
        verdicts = {verdict.path: verdict for verdict in explain(world.definition, portrait, AS_OF, world.catalogue)}
        assert verdicts[""].satisfied == matches(world.definition, portrait, AS_OF, world.catalogue)
        assert list(verdicts) == [path for path, _ in walk(world.definition)]
        for path, verdict in verdicts.items():
            if isinstance(verdict.clause, Not):
                assert verdict.satisfied is not verdicts[f"{path}/not"].satisfied


MANY = st.lists(leaves(), min_size=GROUPED + 1, max_size=GROUPED + 3).map(lambda clauses: {"any": clauses})


@often
@given(st.one_of(worlds(), worlds(MANY)))
def test_a_preview_counts_what_python_counts_clause_by_clause(owner_engine, world):
    preview = Preview(world.definition, AS_OF, world.catalogue)
    with stored(owner_engine, world.portraits) as connection:
        with_ours = preview.tally(connection.execute(preview.select))
        forget(connection, world)
        without = preview.tally(connection.execute(preview.select))
    found = {figure: count - without.figures[figure] for figure, count in with_ours.figures.items()}
    assert with_ours.known - without.known == len(world.portraits)
    assert set(with_ours.sample) & set(world.portraits) <= meant(world)
    for path, clause in walk(world.definition):
        holding = meant(world, clause)
        assert found[(path, False)] == len(holding)
        if (path, True) in found:
            lacking = {name for name in holding if value_of(clause, world, name) is None}
            assert found[(path, True)] == len(lacking)


def forget(connection: sa.Connection, world: World) -> None:
    """The database may hold customers of other tests, so figures are taken with and without ours."""
    connection.execute(
        sa.text("delete from audience.customer where customer_id = any(:ids)"), {"ids": [*world.portraits]}
    )


def value_of(clause, world, name):
    compared = clause.not_ if isinstance(clause, Not) else clause
    assert isinstance(compared, AttributeClause | TraitClause)
    (verdict,) = explain(compared, world.portraits[name], AS_OF, world.catalogue)
    return verdict.found


@seldom
@given(worlds(), leaves())
def test_overlap_counts_who_is_in_both(owner_engine, world, other):
    second = read(other)
    statement = overlap_select([world.definition, second], AS_OF, world.catalogue)
    with stored(owner_engine, world.portraits) as connection:
        with_ours = connection.execute(statement).one()
        forget(connection, world)
        without = connection.execute(statement).one()
    first, both = meant(world), meant(world) & meant(world, second)
    assert [a - b for a, b in zip(with_ours, without, strict=True)] == [
        len(first),
        len(meant(world, second)),
        len(both),
    ]
