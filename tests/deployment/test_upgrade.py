"""While a release is rolled out, old and new processes share one database; and a busy worker is not taken for dead."""

import asyncio
import time
from collections.abc import Iterator
from functools import partial

import psycopg
import pytest
import sqlalchemy as sa

from shared import migrate, worker
from shared.db import connect, transaction
from shared.jobs import enqueue
from shared.migrate import is_current
from shared.settings import SERVICES, Settings, sqlalchemy_url
from shared.telemetry import QUEUE_DEPTH


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_stays_ready_when_a_later_release_has_already_migrated(owner_engine, service):
    with owner_engine.connect() as connection:
        assert is_current(connection, service)
        connection.exec_driver_sql(f"update {service}.schema_version set version_num = 'of a later release'")
        assert is_current(connection, service)
        connection.rollback()


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_not_ready_before_its_own_migrations(owner_engine, service):
    with owner_engine.connect() as connection:
        connection.exec_driver_sql(f"delete from {service}.schema_version")
        assert not is_current(connection, service)
        connection.exec_driver_sql(f"drop table {service}.schema_version")
        assert not is_current(connection, service)
        connection.rollback()


@pytest.fixture
def older(settings, owner_engine, unique) -> Iterator[Settings]:
    """An empty database of its own, in which audience is at an earlier revision."""
    name = f"attune_older_{unique}"
    url = sa.make_url(settings.database_url).set(database=name).render_as_string(hide_password=False)
    with owner_engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(f"create database {name}")
        own = settings.model_copy(update={"database_url": url})
        engine = sa.create_engine(sqlalchemy_url(url), poolclass=sa.NullPool)
        migrate._role_and_schema(engine, "audience", settings.audience_database_url)
        with engine.begin() as other:
            other.exec_driver_sql("create schema published")
        migrate._upgrade(engine, "audience", "0002")
        yield own
        connection.exec_driver_sql(f"drop database {name} with (force)")


def test_each_revision_is_committed_by_itself_and_what_broke_off_is_taken_up_again(older):
    engine = sa.create_engine(sqlalchemy_url(older.database_url), poolclass=sa.NullPool)

    def reached() -> str:
        with engine.connect() as connection:
            found: str = connection.exec_driver_sql("select version_num from audience.schema_version").scalar_one()
            return found

    assert reached() == "0002"
    with engine.begin() as connection:
        connection.exec_driver_sql("alter table audience.suppression add column lifted_at text")  # in the way of 0007
    with pytest.raises(psycopg.errors.DuplicateColumn):
        migrate.migrate(older)
    assert reached() == "0006"
    with engine.begin() as connection:
        connection.exec_driver_sql("alter table audience.suppression drop column lifted_at")
    migrate.migrate(older)
    with engine.connect() as connection:
        assert all(is_current(connection, service) for service in SERVICES)


def pulsed(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether a worker over this database notes, within a moment, that it lives."""
    long_ago = time.monotonic() - 1000
    monkeypatch.setattr(worker, "_last_beat", long_ago)
    monkeypatch.setattr(worker, "PULSE", 0.1)

    async def watch() -> None:
        look = partial(worker._feel_pulse, "audience", engine)
        await asyncio.wait_for(worker._again_and_again("pulse", look), timeout=1.0)

    with pytest.raises(TimeoutError):
        asyncio.run(watch())
    return worker._last_beat > long_ago


def test_a_worker_lives_and_counts_its_queue_without_taking_a_job(audience_engine, monkeypatch):
    def waiting() -> float:
        return float(QUEUE_DEPTH.labels("audience", "queued")._value.get())

    assert pulsed(audience_engine, monkeypatch)
    before = waiting()
    with transaction(audience_engine) as db:
        job = enqueue(db, "work that nobody does", {})
    try:
        assert pulsed(audience_engine, monkeypatch)
        assert waiting() == before + 1
    finally:
        with transaction(audience_engine) as db:
            db.execute(sa.text("delete from procrastinate_jobs where args ->> 'job_id' = :id"), {"id": str(job.id)})
            db.execute(sa.text("delete from job where id = :id"), {"id": job.id})


def test_a_worker_that_cannot_reach_its_queue_says_so(monkeypatch):
    nowhere = connect("postgresql://nobody:nothing@127.0.0.1:1/nothing", name="tests")
    assert not pulsed(nowhere, monkeypatch)
