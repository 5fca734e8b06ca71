"""Conditions on an event's properties mean in Postgres what the segment language says."""

import json
import operator

import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.experiments import conditions
from shared.contracts.comparisons import Comparison

words = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=8)
numbers = st.integers(-5, 5) | st.sampled_from([0.5, -1.25, 1e20])
scalars = words | numbers | st.booleans()
held = scalars | st.none() | st.lists(scalars, max_size=2)
names = st.sampled_from(["category", 'we"ird', "a.b", "$", "näme\n", "'; drop table x; --"])
ORDER = {"lt": operator.lt, "lte": operator.le, "gt": operator.gt, "gte": operator.ge}


def comparisons():
    plain = st.tuples(st.sampled_from(["eq", "ne"]), scalars)
    ordered = st.tuples(st.sampled_from(list(ORDER)), numbers)
    listed = st.tuples(st.sampled_from(["in", "not_in"]), st.lists(words, min_size=1, max_size=3))
    between = st.tuples(st.just("between"), st.tuples(numbers, numbers).map(sorted))
    texts = st.tuples(st.sampled_from(["starts_with", "contains"]), words.filter(bool))
    known = st.tuples(st.sampled_from(["exists", "missing"]), st.none())
    return st.one_of(plain, ordered, listed, between, texts, known)


def same(one, other) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, str) or isinstance(other, str):
        return isinstance(one, str) and isinstance(other, str) and one == other
    return one is not None and one == other


def number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def satisfied(value, is_: str, wanted) -> bool:
    """The oracle: a missing value, null or a list satisfies no positive comparison; complements are exact."""
    if is_ in ("ne", "not_in", "missing"):
        return not satisfied(value, {"ne": "eq", "not_in": "in", "missing": "exists"}[is_], wanted)
    if is_ == "exists":
        return value is not None
    if value is None or isinstance(value, list):
        return False
    if is_ == "eq":
        return same(value, wanted)
    if is_ == "in":
        return any(same(value, each) for each in wanted)
    if is_ == "between":
        return number(value) and wanted[0] <= value <= wanted[1]
    if is_ == "starts_with":
        return isinstance(value, str) and value.startswith(wanted)
    if is_ == "contains":
        return isinstance(value, str) and wanted in value
    return number(value) and ORDER[is_](value, wanted)


@given(st.dictionaries(names, held, max_size=3), st.dictionaries(names, comparisons(), min_size=1, max_size=2))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
def test_postgres_agrees_with_the_oracle(experiments_engine, properties, where):
    asked = {
        name: Comparison.model_validate({"is": is_, **({} if value is None else {"value": value})})
        for name, (is_, value) in where.items()
    }
    with experiments_engine.connect() as connection:
        found = connection.execute(
            sa.text("select coalesce(cast(:properties as jsonb) @@ cast(:path as jsonpath), false)"),
            {"properties": json.dumps(properties), "path": conditions.path(asked)},
        ).scalar_one()
    assert found == all(satisfied(properties.get(name), is_, value) for name, (is_, value) in where.items())


def test_no_condition_is_no_path():
    assert conditions.path({}) is None
