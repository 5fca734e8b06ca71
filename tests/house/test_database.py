"""The database as the services promise it to each other."""

import importlib
import os
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlmodel import SQLModel

from shared.migrate import is_current, migrate
from shared.settings import SERVICES, Settings

SNAPSHOTS = Path(__file__).parent / "snapshots"
# Dictionaries of the installation, and local bookkeeping: never distributed by customer.
WITHOUT_CUSTOMER = {
    "audience": {"attribute", "campaign", "segment", "segment_version", "target_list", "cutoff"},
    "experiments": {"experiment", "metric"},
    "feedback": {"batch"},
}


def check_snapshot(name: str, text: str) -> None:
    """Compare with the stored snapshot; `ATTUNE_UPDATE_SNAPSHOTS=1` stores it anew, for the change to be read."""
    path = SNAPSHOTS / name
    if os.environ.get("ATTUNE_UPDATE_SNAPSHOTS"):
        path.write_text(text)
    assert path.read_text() == text, f"{name} changed: it is an API. If the change is meant, update the snapshot."


def test_published_views_are_the_ones_agreed(owner_engine: sa.Engine) -> None:
    with owner_engine.connect() as connection:
        rows = connection.exec_driver_sql("""
            select c.relname, obj_description(c.oid) as comment,
                   string_agg(
                       '  ' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod), e'\\n' order by a.attnum
                   ) as columns
              from pg_class as c
              join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0
             where c.relnamespace = 'published'::regnamespace
             group by c.oid, c.relname
             order by c.relname
        """).all()
    assert all(row.comment for row in rows)
    check_snapshot("views.txt", "\n".join(f"{row.relname}: {row.comment}\n{row.columns}\n" for row in rows))


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_reads_only_the_views_it_names(owner_engine: sa.Engine, settings: Settings, service: str) -> None:
    role = sa.make_url(settings.database_of(service)).username
    with owner_engine.connect() as connection:
        readable = connection.execute(
            sa.text("""
                select c.relname, c.relnamespace::regnamespace::text as schema
                  from pg_class as c
                 where c.relkind in ('r', 'v', 'p') and has_table_privilege(:role, c.oid, 'select')
                   and c.relnamespace::regnamespace::text not in ('pg_catalog', 'information_schema', :service)
                   and has_schema_privilege(:role, c.relnamespace, 'usage')
            """),
            {"role": role, "service": service},
        ).all()
    expected = {("published", view) for view in importlib.import_module(f"services.{service}").READS}
    assert {(row.schema, row.relname) for row in readable} == expected | {("access", "api_key")}


@pytest.mark.parametrize("service", SERVICES)
def test_tables_are_as_the_models_say(owner_engine: sa.Engine, service: str) -> None:
    importlib.import_module(f"services.{service}.tables")
    known = {table for table in SQLModel.metadata.tables.values() if table.schema == service}
    assert known

    def included(thing: object, name: str | None, kind: str, reflected: bool, compared: object) -> bool:
        if kind == "table":
            return getattr(thing, "schema", None) == service and name in {table.name for table in known}
        return kind == "column"

    with owner_engine.connect() as connection:
        options = {"include_schemas": True, "include_object": included, "compare_type": False}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, SQLModel.metadata) == []


@pytest.mark.parametrize("service", SERVICES)
def test_every_large_table_has_the_customer_in_its_primary_key(owner_engine: sa.Engine, service: str) -> None:
    with owner_engine.connect() as connection:
        rows = connection.execute(
            sa.text("""
                select c.relname, k.collname as collation, a.attname is not null as has_customer,
                       coalesce(a.attnum = any(i.indkey), false) as in_key
                  from pg_class as c
                  left join pg_index as i on i.indrelid = c.oid and i.indisprimary
                  left join pg_attribute as a on a.attrelid = c.oid and a.attname = 'customer_id'
                  left join pg_collation as k on k.oid = a.attcollation
                 where c.relkind in ('r', 'p') and c.relnamespace = cast(:service as regnamespace)
            """),
            {"service": service},
        ).all()
    with_customer = [row for row in rows if row.has_customer]
    assert with_customer
    assert {row.relname for row in with_customer if not row.in_key or row.collation != "C"} == set()


def test_migrating_again_changes_nothing(owner_engine: sa.Engine, settings: Settings) -> None:
    migrate(settings)
    with owner_engine.connect() as connection:
        assert all(is_current(connection, service) for service in SERVICES)
