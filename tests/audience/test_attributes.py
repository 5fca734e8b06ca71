"""The attribute catalogue, and how gaps are filled."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import settings as tried
from hypothesis import strategies as st

from services.audience import catalogue as rules
from services.audience.actions import attributes, imports
from services.audience.actions.reading import Value
from services.audience.app import jobs
from services.audience.migrations import versions
from services.audience.queries import attributes as queries
from services.audience.queries import loading
from services.audience.supplement import fill_value, suits
from shared.contracts.audience import AttributeType, NewAttribute, Supplement
from shared.db import Db, transaction
from shared.jobs import JobContext
from shared.queue import run_job

INSERT = sa.text("""
    insert into audience.customer (customer_id, attributes, known_at, updated_at)
    values (:id, jsonb_build_object(cast(:name as text), cast(:value as jsonb)), now(), now())
""")


def declared(audience, name, **definition):
    return audience.put(f"/v1/attributes/{name}", json=definition)


def test_an_attribute_is_declared_shown_and_listed(audience, unique):
    name = f"a_{unique}"
    body = {"type": "number", "unit": "EUR", "description": "Spent", "allowed": {"minimum": 0}, "personal": False}
    assert declared(audience, name, **body).status_code == 200
    found = audience.get(f"/v1/attributes/{name}").json()
    assert {key: found[key] for key in body} == body | {"allowed": {"minimum": 0.0, "maximum": None}}
    names, cursor = [], None
    while True:
        page = audience.get("/v1/attributes", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        names += [one["name"] for one in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert name in names
    assert names == sorted(set(names))


def test_an_attribute_that_an_earlier_release_described_with_an_address_is_still_shown_and_loaded(
    audience, load, unique, owner_engine
):
    name, described = f"a_{unique}", "ask ada@example.com"
    declared(audience, name, type="text")
    with owner_engine.begin() as connection:
        change = sa.text("update audience.attribute set description = :description where name = :name")
        connection.execute(change, {"description": described, "name": name})
    assert audience.get(f"/v1/attributes/{name}").json()["description"] == described
    assert load([{"customer_id": unique, "attributes": {name: "x"}}])["accepted"] == 1


def test_completeness_is_the_share_of_customers_who_have_a_value(audience, load, unique):
    name = f"a_{unique}"
    declared(audience, name, type="boolean")
    load([{"customer_id": f"{unique}-{i}", "attributes": {name: True} if i else {}} for i in range(3)])
    found = audience.get(f"/v1/attributes/{name}").json()
    assert found["known"] == 2
    assert found["completeness"] == 2 / found["customers"]


def test_a_type_stays_while_customers_have_values(audience, load, unique):
    name = f"a_{unique}"
    declared(audience, name, type="text")
    load([{"customer_id": unique, "attributes": {name: "x"}}])
    refused = declared(audience, name, type="number")
    assert refused.status_code == 409
    assert f"1 were told one, 0 have one that is filled in, {unique} for example" in refused.json()["detail"]
    load([{"customer_id": unique, "attributes": {name: None}}])
    assert declared(audience, name, type="number").status_code == 200


def test_a_type_stays_while_gaps_are_filled_with_values_of_it(audience, load, work, unique):
    name = f"a_{unique}"
    declared(audience, name, type="text", supplement={"method": "constant", "value": "x"})
    load([{"customer_id": unique}])
    assert declared(audience, name, type="number").status_code == 409
    declared(audience, name, type="text")
    work("audience")
    assert declared(audience, name, type="number").status_code == 200


def test_loads_wait_for_no_count_of_how_many_customers_have_a_value(audience, unique, owner_engine):
    name = f"a_{unique}"
    declared(audience, name, type="text")
    with ThreadPoolExecutor(1) as own, owner_engine.connect() as connection:
        connection.exec_driver_sql("lock table audience.customer in access exclusive mode")  # no count gets through
        changing = own.submit(declared, audience, name, type="text", description="new")
        described = sa.text("select a.description from audience.attribute as a where a.name = :name")
        deadline = time.monotonic() + 8
        while True:
            with owner_engine.connect() as another:
                if another.execute(described, {"name": name}).scalar_one() == "new":
                    break
            assert time.monotonic() < deadline, "the change waits for the count"
            time.sleep(0.05)
        connection.rollback()
        assert changing.result().status_code == 200


OFFSET = "2024-01-01T01:00:00+01:00"


def test_a_constant_is_kept_as_values_that_were_told_are(audience, load, unique, owner_engine):
    name = f"a_{unique}"
    constant = {"method": "constant", "value": OFFSET}
    kept = {"method": "constant", "value": "2024-01-01T00:00:00Z"}
    found = declared(audience, name, type="instant", supplement=constant).json()
    assert (found["supplement"], found["fill_value"]) == (kept, kept["value"])
    load([{"customer_id": unique}])
    clause = {"attribute": name, "is": "eq", "value": OFFSET, "filled": True}
    segment = audience.post("/v1/segments", json={"key": f"s-{unique}", "definition": clause}).json()
    told = audience.get(f"/v1/segments/{segment['id']}/explain/{unique}").json()
    members = audience.get(f"/v1/segments/{segment['id']}/members").json()["items"]
    assert (told["member"], {"customer_id": unique} in members) == (True, True)
    as_written = sa.text(
        "update audience.attribute set supplement = jsonb_set(supplement, '{value}', to_jsonb(cast(:value as text))),"
        " fill_value = to_jsonb(cast(:value as text)) where name = :name"
    )
    script = (Path(versions.__path__[0]) / "0008_kept_constants.sql").read_text()
    for written, read in ((OFFSET, kept["value"]), ("2024-01-01t00:00:00.5z", "2024-01-01T00:00:00.500000Z")):
        with owner_engine.begin() as connection:
            connection.execute(as_written, {"value": written, "name": name})
            connection.connection.driver_connection.execute(script)
        found = audience.get(f"/v1/attributes/{name}").json()
        assert (found["supplement"]["value"], found["fill_value"]) == (read, read)


@pytest.mark.parametrize(
    ("allowed", "detail"),
    [
        ({"minimum": 18}, "must be at least 18"),
        ({"maximum": -1.5}, "must be at most -1.5"),
        ({"minimum": 1, "maximum": 10_000_000}, "must lie between 1 and 10000000"),
    ],
)
def test_a_value_out_of_bounds_is_told_the_bounds_there_are(allowed, detail):
    check = rules.check_of(NewAttribute(type=AttributeType.NUMBER, allowed=allowed))
    with pytest.raises(ValueError, match=f"^{detail}$"):
        check(0)


@pytest.mark.parametrize(
    ("definition", "pointer"),
    [
        ({"type": "colour"}, "/type"),
        ({}, "/type"),
        ({"type": "text", "allowed": []}, "/allowed"),
        ({"type": "text", "allowed": "a"}, "/allowed"),
        ({"type": "number", "allowed": [[1]]}, "/allowed"),
        ({"type": "number", "allowed": {"minimum": 2, "maximum": 1}}, "/allowed"),
        ({"type": "number", "allowed": {"least": 2}}, "/allowed"),
        ({"type": "text", "allowed": ["a", 1]}, "/allowed/1"),
        ({"type": "text", "allowed": {"minimum": 1}}, "/allowed"),
        ({"type": "number", "supplement": {"method": "guess"}}, "/supplement/method"),
        ({"type": "text", "supplement": {"method": "mean"}}, "/supplement/method"),
        ({"type": "text", "supplement": {"method": "median"}}, "/supplement/method"),
        ({"type": "number", "allowed": [1, 2], "supplement": {"method": "mean"}}, "/supplement/method"),
        ({"type": "number", "supplement": {"method": "constant", "value": "x"}}, "/supplement/value"),
        ({"type": "number", "supplement": {"method": "constant"}}, "/supplement"),
        ({"type": "number", "supplement": {"method": "mode", "value": 1}}, "/supplement"),
        ({"type": "number", "colour": 1}, "/colour"),
        ({"type": "text", "description": "ask ada@example.com"}, "/description"),
        ({"type": "text", "unit": "+33 6 12 34 56 78"}, "/unit"),
    ],
)
def test_a_definition_that_contradicts_itself_is_refused_at_its_field(audience, unique, definition, pointer):
    answer = declared(audience, f"a_{unique}", **definition)
    assert answer.status_code == 422
    assert pointer in {error["pointer"] for error in answer.json()["errors"]}
    assert audience.get(f"/v1/attributes/a_{unique}").status_code == 404


@pytest.mark.parametrize("name", ["1st", "with space", "a;drop", "x" * 101, "é", *sorted(rules.COLUMNS), "Email"])
def test_a_name_that_is_none_or_means_something_else_is_refused(audience, name):
    answer = declared(audience, name, type="text")
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "#path/name")


def test_gaps_are_filled_apart_from_what_was_told_and_reported(audience, load, unique):
    age, tier = f"age_{unique}", f"tier_{unique}"
    declared(audience, age, type="number", supplement={"method": "constant", "value": 40})
    declared(audience, tier, type="text", supplement={"method": "constant", "value": "basic"})
    report = load(
        [
            {"customer_id": f"{unique}-1", "attributes": {age: 20}},
            {"customer_id": f"{unique}-2", "attributes": {tier: "gold"}},
            {"customer_id": f"{unique}-3"},
        ]
    )
    assert (report["supplemented"][age], report["supplemented"][tier]) == (2, 2)
    first = audience.get(f"/v1/customers/{unique}-1").json()
    assert first["attributes"] == {age: 20}
    assert first["filled"][tier] == "basic"
    assert age not in first["filled"]
    load([{"customer_id": f"{unique}-3", "attributes": {age: 50}}])
    third = audience.get(f"/v1/customers/{unique}-3").json()
    assert (third["attributes"], age in third["filled"], third["filled"][tier]) == ({age: 50}, False, "basic")
    load([{"customer_id": f"{unique}-3", "attributes": {age: None}}])
    assert audience.get(f"/v1/customers/{unique}-3").json()["filled"][age] == 40


def test_a_statistic_fills_the_gaps_of_everybody_once_the_job_has_run(audience, load, work, unique):
    age = f"age_{unique}"
    declared(audience, age, type="number")
    load([{"customer_id": f"{unique}-{i}", "attributes": {age: value}} for i, value in enumerate([10, 20, 90, 100])])
    load([{"customer_id": f"{unique}-gap"}])
    declared(audience, age, type="number", supplement={"method": "median"})
    work("audience")
    assert audience.get(f"/v1/customers/{unique}-gap").json()["filled"][age] == 20
    assert audience.get(f"/v1/attributes/{age}").json()["fill_value"] == 20
    declared(audience, age, type="number", supplement={"method": "mean"})
    work("audience")
    assert audience.get(f"/v1/customers/{unique}-gap").json()["filled"][age] == 55
    declared(audience, age, type="number")
    work("audience")
    assert age not in audience.get(f"/v1/customers/{unique}-gap").json()["filled"]


def test_a_large_load_fills_its_gaps_with_what_it_brought(audience, load, unique):
    age = f"age_{unique}"
    declared(audience, age, type="number", supplement={"method": "median"})
    rows = [{"customer_id": f"{unique}-{i}", "attributes": {age: i} if i % 2 else {}} for i in range(6000)]
    report = load(rows)
    assert report["supplemented"][age] == 3000
    assert audience.get(f"/v1/customers/{unique}-0").json()["filled"][age] == 2999


def test_the_first_known_value_fills_the_gaps_that_waited_for_it(audience, load, work, unique):
    tier, age = f"tier_{unique}", f"age_{unique}"
    declared(audience, tier, type="text", supplement={"method": "mode"})
    declared(audience, age, type="number", supplement={"method": "mean"})
    load([{"customer_id": f"{unique}-gap"}])
    assert tier not in audience.get(f"/v1/customers/{unique}-gap").json()["filled"]
    report = load([{"customer_id": f"{unique}-1", "attributes": {tier: "gold"}}, {"customer_id": f"{unique}-2"}])
    assert report["supplemented"][tier] == 1
    assert audience.get(f"/v1/customers/{unique}-gap").json()["filled"][tier] == "gold"
    audience.put(f"/v1/customers/{unique}-3", json={"attributes": {age: 7}})
    work("audience")
    assert audience.get(f"/v1/customers/{unique}-gap").json()["filled"][age] == 7


@pytest.mark.parametrize(
    ("told", "mean"), [([1.7e308, 1.7e308], 1.7e308), ([5e-324, 0, 0], None), ([2**53, 2**53 - 2], 2**53 - 1)]
)
def test_numbers_at_the_edge_of_what_there_is_keep_no_gap_from_being_filled(
    audience, load, unique, owner_engine, told, mean
):
    edge, tier = f"edge_{unique}", f"tier_{unique}"
    declared(audience, tier, type="text", supplement={"method": "mode"})
    declared(audience, edge, type="number", supplement={"method": "mean"})
    with owner_engine.begin() as connection:  # an older release took any finite number
        rows = [{"id": f"{unique}-{n}", "name": edge, "value": json.dumps(one)} for n, one in enumerate(told)]
        connection.execute(INSERT, rows)
    report = load([{"customer_id": f"{unique}-gap"}, {"customer_id": f"{unique}-told", "attributes": {tier: "gold"}}])
    assert (report["state"], report["supplemented"][tier]) == ("finished", 1)
    found = audience.get(f"/v1/attributes/{edge}").json()["fill_value"]
    assert (None if found is None else float(found)) == mean
    declared(audience, edge, type="number")


def test_a_load_whose_gaps_cannot_be_filled_now_is_no_failed_load(
    audience, load, work, unique, owner_engine, audience_engine, settings
):
    @contextmanager
    def impatient():
        with transaction(audience_engine) as db:
            db.execute(sa.text("set local lock_timeout = '50ms'"))
            yield db

    tier = f"tier_{unique}"
    load([{"customer_id": f"{unique}-held"}])
    declared(audience, tier, type="text", supplement={"method": "mode"})
    with owner_engine.connect() as connection:
        connection.execute(HOLD, {"id": f"{unique}-held"})
        rows = [(1, Value({"customer_id": f"{unique}-told", "attributes": {tier: "gold"}}))]
        report = imports.Load(impatient, settings.secret, "json").run(iter(rows))
        assert (report.state, report.accepted) == ("finished", 1)
    work("audience")
    assert audience.get(f"/v1/customers/{unique}-held").json()["filled"][tier] == "gold"


def test_a_fill_that_finds_no_free_connection_is_left_to_a_job_too(audience_engine):
    engine = sa.create_engine(audience_engine.url, pool_size=1, max_overflow=0, pool_timeout=0.05)
    with engine.connect(), pytest.raises(queries.NotFilled), queries.filling():
        attributes.fill_gaps(partial(transaction, engine))
    engine.dispose()


def test_a_fill_that_nobody_watches_counts_nobody(audience_engine):
    def counted(progress=None):
        said = []
        sa.event.listen(audience_engine, "before_cursor_execute", hear := lambda *given: said.append(given[2]))
        attributes.fill_gaps(partial(transaction, audience_engine), progress)
        sa.event.remove(audience_engine, "before_cursor_execute", hear)
        return str(loading.ALL_CUSTOMERS) in said

    assert (counted(), counted(lambda _done: None)) == (False, True)


values = {
    AttributeType.NUMBER: st.integers(-1000, 1000) | st.floats(-1e6, 1e6),
    AttributeType.TEXT: st.sampled_from(["b", "a", "B", "é", "10", "9"]),
    AttributeType.BOOLEAN: st.booleans(),
}


@tried(deadline=None)
@given(st.data(), st.sampled_from(list(values)), st.sampled_from(["mean", "median", "mode"]))
def test_the_database_finds_the_same_statistic_as_python(owner_engine, data, kind, method):
    definition = NewAttribute(type=kind)
    if not suits(method, definition):
        return
    known = data.draw(st.lists(values[kind], max_size=12))
    with Db(owner_engine) as db:
        for index, value in enumerate(known):
            row = {"id": f"statistic-{index}", "name": "statistic_of_test", "value": json.dumps(value)}
            db.execute(INSERT, row)
        found = queries.statistic(db, "statistic_of_test", method)
        db.rollback()
    expected = fill_value(Supplement(method=method), known)
    if method == "mean" and known:
        expected = pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert found == expected


anything = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates().map(str)


@tried(deadline=None)
@given(st.sampled_from(list(AttributeType)), anything)
def test_whatever_a_check_accepts_it_accepts_again_unchanged(kind, value):
    check = rules.check_of(NewAttribute(type=kind))
    try:
        kept = check(value)
    except ValueError:
        return
    assert check(kept) == kept


def test_filling_everybodys_gaps_keeps_nobody_from_changing_other_customers(
    audience, load, unique, owner_engine, audience_engine
):
    age = f"age_{unique}"
    load([{"customer_id": f"{unique}-held"}, {"customer_id": f"{unique}-other"}])
    declared(audience, age, type="number", supplement={"method": "median"})
    with ThreadPoolExecutor(1) as own, owner_engine.connect() as connection:
        connection.execute(HOLD, {"id": f"{unique}-held"})
        audience.patch(f"/v1/customers/{unique}-other", json={"attributes": {age: 7}})
        filling = own.submit(attributes.fill_gaps, partial(transaction, audience_engine))
        wait_until_one_waits(connection)
        answer = audience.patch(f"/v1/customers/{unique}-other", json={"attributes": {"age": 8}})
        connection.rollback()
        assert answer.status_code == 200
        assert filling.result() > 0
    assert audience.get(f"/v1/customers/{unique}-held").json()["filled"][age] == 7


def test_filling_everybodys_gaps_is_watched_and_cancelled_between_chunks(
    audience, load, unique, audience_engine, settings, monkeypatch
):
    load([{"customer_id": f"{unique}-{n}"} for n in range(3)])
    declared(audience, f"age_{unique}", type="number", supplement={"method": "constant", "value": 7})
    job = audience.get("/v1/jobs", params={"limit": 1}).json()["items"][0]["id"]
    fill_next, seen = loading.fill_next, []

    def cancelled_meanwhile(*given):
        seen.append(audience.get(f"/v1/jobs/{job}").json()["progress"])
        if len(seen) == 2:
            audience.post(f"/v1/jobs/{job}/cancel").raise_for_status()
        return fill_next(*given)

    monkeypatch.setattr(loading, "FILLED_AT_ONCE", 1)
    monkeypatch.setattr(loading, "fill_next", cancelled_meanwhile)
    run_job(jobs, JobContext(audience_engine, settings, {}, UUID(job)))
    assert audience.get(f"/v1/jobs/{job}").json()["state"] == "cancelled"
    assert len(seen) == 2
    assert 0 == seen[0] < seen[1] < 1


HOLD = sa.text("select from audience.customer as c where c.customer_id = :id for update")
WAITING = sa.text("select exists (select from pg_locks as l where not l.granted)")


def wait_until_one_waits(connection):
    """Until a lock is waited for."""
    deadline = time.monotonic() + 8
    while not connection.execute(WAITING).scalar_one():
        assert time.monotonic() < deadline, "nobody waits"
        time.sleep(0.02)


def test_a_statistic_does_not_replace_what_the_catalogue_says_by_now(audience, load, unique, owner_engine):
    age = f"age_{unique}"
    declared(audience, age, type="number", supplement={"method": "constant", "value": 40})
    with Db(owner_engine) as db:
        queries.set_fill_value(db, age, "median", 7)
        db.commit()
    assert audience.get(f"/v1/attributes/{age}").json()["fill_value"] == 40
