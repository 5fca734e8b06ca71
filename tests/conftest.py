"""What tests stand on: a real Postgres, the three real services on loopback, and real workers.

Each pytest worker has a Postgres of its own; where `ATTUNE_TEST_DATABASE_URL` names one, a database in that.
"""

import hashlib
import importlib
import importlib.util
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest
import sqlalchemy as sa
import uvicorn

from services.stack.postgres import EmbeddedPostgres, free_port
from shared import worker
from shared.db import connect
from shared.migrate import migrate
from shared.service import Service, create_app, make_context
from shared.settings import SERVICES, Settings, libpq_url
from shared.telemetry import configure_logging

KEY = "attune-test-bootstrap-key"
SECRET = "attune-test-secret"  # it keys only the hashes of a database that is thrown away


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("needs"):
            item.add_marker("extra")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        for what in marker.args:
            require(what)


def require(what: str) -> None:
    """Skip the test where `what`, a program or a module, is absent; fail under CI=true, where it must be there."""
    if shutil.which(what) is None and not _importable(what):
        reason = f"{what} is not installed (see `make setup-all` and .ci/run)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


def _importable(what: str) -> bool:
    return what.isidentifier() and importlib.util.find_spec(what) is not None


def real_data(name: str) -> Path:
    """A real data set beside the project (`ATTUNE_DATA`); the test skips where it is absent."""
    root = Path(__file__).resolve().parents[1]
    path = Path(os.environ.get("ATTUNE_DATA", root.parent / "shared" / "data")) / name
    if not path.exists():
        pytest.skip(f"the data set {name} is not there (set ATTUNE_DATA to its folder)")
    return path


@pytest.fixture(scope="session")
def postgres_url(worker_id: str) -> Iterator[str]:
    """The owner's address of an empty database."""
    given = os.environ.get("ATTUNE_TEST_DATABASE_URL")
    if given:
        with _database_in(given, f"attune_test_{worker_id}_{os.getpid()}") as url:
            yield url
        return
    directory = Path(tempfile.mkdtemp(prefix="attune-test-"))
    server = EmbeddedPostgres(directory / "postgres", free_port(), "attune-test")
    server.start()
    yield server.url
    server.stop()
    shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def _database_in(server_url: str, name: str) -> Iterator[str]:
    with psycopg.connect(libpq_url(server_url), autocommit=True) as connection:
        connection.execute(f"drop database if exists {name}")
        connection.execute(f"create database {name}")
        yield sa.make_url(server_url).set(database=name).render_as_string(hide_password=False)
        connection.execute(f"drop database {name} with (force)")


@pytest.fixture(scope="session")
def settings(postgres_url: str, worker_id: str) -> Settings:
    """The settings of an installation with all services on free loopback ports."""
    url = sa.make_url(postgres_url)

    def own(service: str) -> str:
        role = f"attune_{service}_{worker_id}"
        return url.set(username=role, password="attune-test").render_as_string(hide_password=False)

    ports = {service: free_port() for service in SERVICES}
    given = {f"{service}_database_url": own(service) for service in SERVICES}
    given |= {f"{service}_url": f"http://127.0.0.1:{port}" for service, port in ports.items()}
    return Settings(
        database_url=postgres_url, secret=SECRET, bootstrap_key=KEY, service_key="attune-test-service-key", **given
    )


@pytest.fixture(scope="session")
def database(settings: Settings) -> str:
    """The owner's address of a migrated database."""
    migrate(settings)
    return settings.database_url


@pytest.fixture(scope="session")
def owner_engine(database: str) -> Iterator[sa.Engine]:
    engine = connect(database, name="tests")
    yield engine
    engine.dispose()


def _engine(service: str) -> Callable[..., Iterator[sa.Engine]]:
    @pytest.fixture(scope="session", name=f"{service}_engine")
    def engine(settings: Settings, database: str) -> Iterator[sa.Engine]:
        engine = connect(settings.database_of(service), name=f"tests-{service}")
        yield engine
        engine.dispose()

    return engine


audience_engine, experiments_engine, feedback_engine = (_engine(service) for service in SERVICES)


def service_of(name: str) -> Service:
    found: Service = importlib.import_module(f"services.{name}.app").service
    return found


@contextmanager
def serving(name: str, settings: Settings) -> Iterator[str]:
    """The real service, answering on its address while the block lasts."""
    configure_logging(settings.model_copy(update={"log_level": "error"}), name)
    url = httpx.URL(settings.url_of(name))
    config = uvicorn.Config(
        create_app(service_of(name), settings), host=url.host, port=url.port, log_config=None, access_log=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    end = time.monotonic() + 20
    while not server.started:
        if time.monotonic() > end or not thread.is_alive():
            raise RuntimeError(f"{name} did not start")
        time.sleep(0.01)
    yield str(url)
    server.should_exit = True
    thread.join(10)


def _client(service: str) -> Callable[..., Iterator[httpx.Client]]:
    @pytest.fixture(scope="session", name=service)
    def client(settings: Settings, database: str) -> Iterator[httpx.Client]:
        with serving(service, settings) as url:
            yield httpx.Client(base_url=url, headers={"Authorization": f"Bearer {KEY}"}, timeout=60)

    return client


audience, experiments, feedback = (_client(service) for service in SERVICES)


@pytest.fixture(scope="session")
def work(settings: Settings, database: str) -> Callable[[str], None]:
    """`work("experiments")` does the periodic work once, then runs all queued jobs, as that service's worker."""

    def run(name: str) -> None:
        service = service_of(name)
        context = make_context(service, settings, "worker")
        try:
            service.jobs.run_ticks(context)
            worker.drain(service.jobs, context, settings.database_of(name))
        finally:
            context.engine.dispose()

    return run


@pytest.fixture
def clean(owner_engine: sa.Engine) -> None:
    """An empty world: no row in any table of any service."""
    with owner_engine.begin() as connection:
        found = connection.execute(
            sa.text("""
                select string_agg(format('%I.%I', t.schemaname, t.tablename), ', ')
                  from pg_tables as t
                 where t.schemaname = any(:services) and t.tablename <> 'schema_version'
            """),
            {"services": list(SERVICES)},
        ).scalar_one()
        connection.exec_driver_sql(f"truncate {found} restart identity cascade")


@pytest.fixture
def unique(request: pytest.FixtureRequest) -> str:
    """A short string that no other test has, and the same in each run: what is drawn by it falls alike each time."""
    return hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:10]


@pytest.fixture(scope="session")
def worker_id(request: pytest.FixtureRequest) -> str:
    """The name of this pytest worker; `main` when there is only one."""
    return os.environ.get("PYTEST_XDIST_WORKER", "main")
