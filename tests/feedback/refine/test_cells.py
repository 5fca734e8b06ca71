"""How customers become cells, and how questions about codes are said in the segment language."""

import json

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from services.feedback.queries import cells as queries
from services.feedback.refine import HALF_SQL, Coding, FeatureProfile, cells_of, codings, is_grow
from services.feedback.refine.splits import clause, codebook, splits, words

AGE = Coding("age", "attribute", "number", cuts=(25.0, 40.5))
CITY = Coding("city", "attribute", "category", values=("Lyon", "Porto", "Gent", "Bern"))
CHILDREN = Coding("children", "trait", "boolean", values=("true", "false"))


def test_python_and_sql_put_the_same_customers_into_the_grow_half(feedback_engine):
    people = [f"customer-{number}" for number in range(500)] + ["é", "日本", "user😀1"]
    query = sa.text(f"select customer_id, {HALF_SQL} as grow from unnest(cast(:people as text[])) as customer_id")
    with feedback_engine.connect() as connection:
        answered = {row.customer_id: row.grow for row in connection.execute(query, {"people": people, "salt": "e7"})}
    assert answered == {customer: is_grow(customer, "e7") for customer in people}


def test_halves_are_about_equal_and_another_experiment_deals_them_anew():
    one = np.array([is_grow(str(number), "one") for number in range(4000)])
    two = np.array([is_grow(str(number), "two") for number in range(4000)])
    assert abs(one.mean() - 0.5) < 0.04
    assert abs((one == two).mean() - 0.5) < 0.04


def test_numbers_are_cut_where_their_quantiles_differ():
    profile = FeatureProfile("visits", "trait", "number", present=90, quantiles=(0, 0, 1, 1, 2, 3, 3, 5, 9))
    (found,) = codings([profile], 100)
    assert found == Coding("visits", "trait", "number", cuts=(1, 2, 3, 5, 9))


def test_features_that_no_rule_could_use_are_left_out():
    constant = FeatureProfile("country", "attribute", "category", 100, values=(("FR", 100),))
    flat = FeatureProfile("zero", "trait", "number", 100, quantiles=(0.0,) * 9)
    names = FeatureProfile("name", "attribute", "category", 100, values=tuple((f"name {n}", 1) for n in range(100)))
    rare = FeatureProfile("rare", "attribute", "boolean", 1, values=(("true", 1), ("false", 0)))
    known = FeatureProfile("city", "attribute", "category", 80, values=(("Lyon", 50), ("Gent", 20)))
    assert [coding.name for coding in codings([constant, flat, names, rare, known], 100)] == ["city"]


def test_no_more_features_are_searched_than_asked_for():
    profiles = [FeatureProfile(str(n), "trait", "boolean", 9, values=(("true", 5), ("false", 4))) for n in range(5)]
    assert [coding.name for coding in codings(profiles, 9, most=2)] == ["0", "1"]


@pytest.mark.parametrize(("value", "code"), [(26, 1), (10**400, 2), (-(10**400), 0), ("26", -1)])
def test_a_number_beyond_every_double_falls_where_its_rule_says(feedback_engine, value, code):
    query = sa.text(f"select {queries.NUMBER.format(n=0)} from (select cast(:given as jsonb) as features) as a")
    asked = {"given": json.dumps({"age": value}), "name_0": "age", "cuts_0": list(AGE.cuts)}
    with feedback_engine.connect() as connection:
        assert connection.execute(query, asked).scalar_one() == code


def test_rows_become_arrays():
    cells = cells_of([(1, -1, 2, 0.5, 10, 3, 4.5, 9.25)], 2)
    assert cells.codes.tolist() == [[1, -1]]
    assert [float(each[0]) for each in cells[1:]] == [2, 0.5, 10, 3, 4.5, 9.25]
    assert cells_of([], 2).codes.shape == (0, 2)


@pytest.mark.parametrize("row", [(0, 0, 0.0, 1, 1, 1, 1), (0, 0, 1.5, 1, 1, 1, 1), (0, 0, 0.5, 1)])
def test_impossible_cells_are_refused(row):
    with pytest.raises(ValueError, match=r"probability|figures"):
        cells_of([row], 1)


def asked(coding: Coding, *, missing: bool):
    book = codebook([coding])
    count = np.full(book.size, 10.0)
    count[0] = 10.0 if missing else 0.0
    return splits([coding], book, count, np.arange(book.size)[::-1].astype(float))


def test_every_question_and_its_opposite_in_the_segment_language():
    said = [
        (clause(split, True, coding, missing=False), clause(split, False, coding, missing=False))
        for coding in (AGE, CHILDREN)
        for split in asked(coding, missing=False)
    ]
    age, children = {"attribute": "age"}, {"trait": "children"}
    assert said == [
        (age | {"is": "gte", "value": 25}, age | {"is": "lt", "value": 25}),
        (age | {"is": "gte", "value": 40.5}, age | {"is": "lt", "value": 40.5}),
        (children | {"is": "eq", "value": True}, children | {"is": "ne", "value": True}),
        (children | {"is": "eq", "value": False}, children | {"is": "ne", "value": False}),
    ]


def test_categories_are_asked_for_one_value_or_for_the_best_few():
    said = [clause(split, True, CITY, missing=False)["value"] for split in asked(CITY, missing=False)]
    assert said == ["Lyon", "Porto", "Gent", "Bern", ["Lyon", "Porto"]]


def holds(definition, value):
    """What the segment language says of one value: no clause is unknown, a missing value satisfies no comparison."""
    if "not" in definition:
        return not holds(definition["not"], value)
    operator, wanted = definition["is"], definition.get("value")
    opposite = {"ne": "eq", "not_in": "in", "missing": "exists"}.get(operator)
    if opposite:
        return not holds(definition | {"is": opposite}, value)
    if value is None or operator == "exists":
        return value is not None
    return {
        "gte": lambda: value >= wanted,
        "lt": lambda: value < wanted,
        "eq": lambda: value == wanted,
        "in": lambda: value in wanted,
    }[operator]()


def code(coding, value):
    if value is None:
        return -1
    if coding.kind == "number":
        return int(np.searchsorted(coding.cuts, value, side="right"))
    text = str(value).lower() if isinstance(value, bool) else value
    return coding.values.index(text) + 1 if text in coding.values else 0


people = st.one_of(
    st.tuples(st.just(AGE), st.none() | st.integers(0, 100) | st.sampled_from([25, 40.5])),
    st.tuples(st.just(CITY), st.none() | st.sampled_from([*CITY.values, "Roma"])),
    st.tuples(st.just(CHILDREN), st.none() | st.booleans()),
)


@given(people)
def test_a_clause_holds_for_exactly_those_whose_code_answers_so(person):
    coding, value = person
    for split in asked(coding, missing=True):
        inside = split.inside[code(coding, value) + 1]
        assert holds(clause(split, True, coding, missing=True), value) == inside
        assert holds(clause(split, False, coding, missing=True), value) == (not inside)


def test_questions_read_as_words():
    gte, _, lt, *_ = (asked(AGE, missing=True)[position] for position in (0, 0, 1, 4))
    assert words(gte, True, AGE, missing=True) == "age is at least 25"
    assert words(gte, False, AGE, missing=True) == "age is below 25 or not known"
    assert words(lt, True, AGE, missing=True) == "age is below 25"
    assert words(asked(AGE, missing=True)[-1], False, AGE, missing=True) == "age is not known"
    assert words(asked(CITY, missing=False)[-1], False, CITY, missing=False) == "city is none of Lyon or Porto"
    assert words(asked(CHILDREN, missing=False)[0], True, CHILDREN, missing=False) == "children is yes"
