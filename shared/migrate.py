"""Migrations: roles and schemas, who may call, then each service's own history. One run at a time."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

import procrastinate
import sqlalchemy as sa
import structlog
from alembic import command, op
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg import sql
from sqlalchemy.engine import make_url

from shared.arrivals import renumber
from shared.settings import SERVICES, Settings, sqlalchemy_url

log = structlog.get_logger()

LOCK = 0x417474756E65  # one number for all of Attune, so that two migrations never run at once
TIMEOUTS = {"statement_timeout": "60s", "lock_timeout": "10s", "idle_in_transaction_session_timeout": "60s"}


def migrate(settings: Settings) -> None:
    """Bring the database up to date. Running it again changes nothing."""
    engine = sa.create_engine(sqlalchemy_url(settings.database_url), poolclass=sa.NullPool)
    with _locked(engine):
        for service in SERVICES:
            _role_and_schema(engine, service, settings.database_of(service))
        with engine.begin() as connection:
            _run(connection, (resources.files("shared") / "access.sql").read_text())
        for service in SERVICES:
            _upgrade(engine, service)
        for service in SERVICES:
            renumber(engine, service)
        for service in SERVICES:
            _grant(engine, service, make_url(settings.database_of(service)).username or "")
    engine.dispose()
    log.info("database migrated")


@contextmanager
def _locked(engine: sa.Engine) -> Iterator[None]:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("select pg_advisory_lock(:lock)"), {"lock": LOCK})
        try:
            yield
        finally:
            connection.execute(sa.text("select pg_advisory_unlock(:lock)"), {"lock": LOCK})


def _role_and_schema(engine: sa.Engine, service: str, url: str) -> None:
    parsed = make_url(url)
    role = sql.Identifier(parsed.username or "")
    with engine.begin() as connection:
        raw = connection.connection.driver_connection
        assert raw is not None
        known = connection.execute(
            sa.text("select 1 from pg_roles as r where r.rolname = :name"), {"name": parsed.username}
        ).one_or_none()
        verb = sql.SQL("alter" if known else "create")
        password = sql.Literal(parsed.password) if parsed.password else sql.SQL("null")
        raw.execute(sql.SQL("{} role {} login password {}").format(verb, role, password))
        database = sql.Identifier(connection.execute(sa.text("select current_database()")).scalar_one())
        schema = sql.Identifier(service)
        for name, value in {"search_path": service, **TIMEOUTS}.items():
            raw.execute(
                sql.SQL("alter role {} in database {} set {} = {}").format(
                    role, database, sql.Identifier(name), sql.Literal(value)
                )
            )
        raw.execute(sql.SQL("create schema if not exists {}").format(schema))


def _upgrade(engine: sa.Engine, service: str, to: str = "head") -> None:
    """Each revision is a transaction of its own: what one locks it lets go before the next one reads whole tables.

    The old processes serve on meanwhile. A run that breaks off leaves what is done; the next one goes on from there.
    """
    with engine.connect() as connection:
        connection.exec_driver_sql(f"set search_path = {service}")
        connection.exec_driver_sql("set lock_timeout = '10s'")
        connection.commit()
        command.upgrade(_config(service, connection), to)


def _config(service: str, connection: sa.Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(str(resources.files(f"services.{service}"))) / "migrations"))
    config.attributes.update(service=service, connection=connection)
    return config


def run_environment(config: Config) -> None:
    """What each service's `migrations/env.py` calls: run the history on the connection given by `migrate`."""
    from alembic import context

    context.configure(
        connection=config.attributes["connection"],
        version_table="schema_version",
        version_table_schema=config.attributes["service"],
        transaction_per_migration=True,
    )
    context.run_migrations()


def is_current(connection: sa.Connection, service: str) -> bool:
    """Whether the database has all that this code needs: the newest migration it knows, or one of a later release.

    Migrations expand first and contract a release later, so the old processes go on serving while new ones start.
    """
    if not connection.dialect.has_table(connection, "schema_version", schema=service):
        return False
    found = MigrationContext.configure(
        connection, opts={"version_table": "schema_version", "version_table_schema": service}
    ).get_current_heads()
    history = ScriptDirectory.from_config(_config(service))
    older = {script.revision for script in history.walk_revisions()} - set(history.get_heads())
    return bool(found) and older.isdisjoint(found)


def run_sql(place: str, name: str) -> None:
    """Run the SQL file `name` that lies beside the migration `place` (its `__file__`)."""
    _run(op.get_bind(), (Path(place).parent / name).read_text())


def foundation() -> None:
    """Called first in each service's first migration: the queue, jobs and idempotency keys in its own schema."""
    bind = op.get_bind()
    _run(bind, procrastinate.schema.SchemaManager.get_schema())
    _run(bind, (resources.files("shared") / "foundation.sql").read_text())


def _run(connection: sa.Connection, script: str) -> None:
    """Several statements at once, within the connection's transaction; `%` means itself."""
    raw = connection.connection.driver_connection
    assert raw is not None
    raw.execute(script)


def _grant(engine: sa.Engine, service: str, role_name: str) -> None:
    """A service may change data in its own schema, and read the published views it names and the API keys."""
    role, schema = sql.Identifier(role_name), sql.Identifier(service)
    reads = importlib.import_module(f"services.{service}").READS
    statements = [
        sql.SQL("grant usage on schema {}, published, access to {}").format(schema, role),
        sql.SQL("grant select, insert, update, delete on all tables in schema {} to {}").format(schema, role),
        sql.SQL("grant usage, select on all sequences in schema {} to {}").format(schema, role),
        sql.SQL("grant execute on all functions in schema {} to {}").format(schema, role),
        sql.SQL("grant temporary on database {} to {}").format(sql.Identifier(engine.url.database or ""), role),
        sql.SQL("revoke all on all tables in schema published from {}").format(role),
        sql.SQL("grant select on access.api_key to {}").format(role),
        *(
            sql.SQL("grant select on published.{} to {}").format(sql.Identifier(view), role)
            for view in reads
        ),
    ]  # fmt: skip
    with engine.begin() as connection:
        raw = connection.connection.driver_connection
        assert raw is not None
        for statement in statements:
            raw.execute(statement)
