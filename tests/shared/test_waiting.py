"""Who waits for others holds a connection: however many repeat a call, a process goes on answering."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import sqlalchemy as sa

from shared.db import transaction, waiting_for_others
from shared.idempotency import Repeatable
from tests.shared import conftest as toys

CALLS = 12  # more than a process has connections
INSERT = sa.text("""
    insert into audience.idempotency_key (caller, route, key, digest, created_at)
    values (:caller, :route, :key, '', :at)
""")
CALLER = sa.text("select i.caller from audience.idempotency_key as i where i.key = :key")
Holding = Callable[[httpx.Client, sa.Engine, str], AbstractContextManager[None]]


@contextmanager
def the_first_call_under_way(audience: httpx.Client, engine: sa.Engine, key: str) -> Iterator[None]:
    """Somebody holds the key with which all repeats come."""
    body = {"customer_id": f"other-{key}", "reason": "asked"}
    audience.post("/v1/suppressions", json=body, headers={"Idempotency-Key": f"before-{key}"}).raise_for_status()
    with engine.connect() as connection:
        caller = connection.execute(CALLER, {"key": f"before-{key}"}).scalar_one()
        row = {"caller": caller, "route": "POST /v1/target-lists", "key": key, "at": datetime.now(UTC)}
        connection.execute(INSERT, row)
        yield
        connection.rollback()


@contextmanager
def another_list_under_way(audience: httpx.Client, engine: sa.Engine, key: str) -> Iterator[None]:
    """Somebody reserves contacts for a list of another name."""
    with engine.connect() as connection:
        connection.exec_driver_sql("select pg_advisory_xact_lock(hashtext('audience.target_list'))")
        yield
        connection.rollback()


@pytest.mark.parametrize("hold", [the_first_call_under_way, another_list_under_way])
def test_however_many_calls_wait_others_are_answered(
    audience: httpx.Client, owner_engine: sa.Engine, unique: str, hold: Holding
) -> None:
    customer = {"consents": [{"channel": "email", "purpose": "marketing", "state": "granted", "source": "test"}],
                "contact_points": [{"channel": "email", "handle": "h"}], "attributes": {"town": unique}}  # fmt: skip
    audience.put("/v1/attributes/town", json={"type": "text"}).raise_for_status()
    audience.put(f"/v1/customers/{unique}", json=customer).raise_for_status()
    segment = {"key": unique, "definition": {"attribute": "town", "is": "eq", "value": unique}}
    audience.post("/v1/segments", json=segment).raise_for_status()

    def build(number: int) -> httpx.Response:
        repeated = hold is the_first_call_under_way
        name = unique if repeated else f"{unique} {number}"
        body = {"name": name, "segment_id": unique, "channel": "email", "purpose": "marketing"}
        headers = dict(audience.headers) | ({"Idempotency-Key": unique} if repeated else {})
        return httpx.post(f"{audience.base_url}/v1/target-lists", json=body, headers=headers, timeout=60)

    with ThreadPoolExecutor(CALLS) as pool:
        with hold(audience, owner_engine, unique):
            calls = [pool.submit(build, number) for number in range(CALLS)]
            wait(calls, timeout=6)
            assert audience.get("/v1/campaigns", timeout=3).status_code == 200
        answers = [call.result() for call in calls]
    assert {answer.status_code for answer in answers} == {201, 429}
    assert {answer.headers.get("Retry-After") for answer in answers if answer.status_code == 429} == {"10"}


def test_a_place_to_wait_is_given_back_also_by_who_failed(audience_engine: sa.Engine) -> None:
    for _ in range(5):
        with pytest.raises(ZeroDivisionError), transaction(audience_engine) as db, waiting_for_others(db):
            raise ZeroDivisionError
    with transaction(audience_engine) as db, waiting_for_others(db):
        assert db.execute(sa.text("select current_setting('lock_timeout')")).scalar_one() == "15min"


def test_old_keys_that_another_call_is_forgetting_are_not_waited_for(
    audience_engine: sa.Engine, owner_engine: sa.Engine, unique: str
) -> None:
    def make(key: str) -> toys.Made:
        with transaction(audience_engine) as db:
            once = Repeatable(unique, "POST /v1/things", key)
            return once(db, toys.Thing(name="a"), lambda: toys.Made(id=key, name="a"), toys.Made)

    old = {"caller": unique, "route": "POST /v1/things", "key": "old", "at": datetime.now(UTC) - timedelta(days=2)}
    with owner_engine.begin() as connection:
        connection.execute(INSERT, old)
    with owner_engine.connect() as connection:
        connection.execute(sa.text("delete from audience.idempotency_key where caller = :caller"), {"caller": unique})
        began = time.monotonic()
        assert make("new").id == "new"
        assert time.monotonic() - began < 5
        connection.rollback()
    assert make("another").id == "another"
    with owner_engine.connect() as connection:
        kept = sa.text("select i.key from audience.idempotency_key as i where i.caller = :caller order by i.key")
        assert list(connection.execute(kept, {"caller": unique}).scalars()) == ["another", "new"]
