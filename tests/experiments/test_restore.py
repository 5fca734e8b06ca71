"""A copy restored into a younger cluster goes on where the old one was, by the steps that docs/deployment.md names."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from services.audience.actions import consents
from services.experiments.actions import outcomes
from services.experiments.queries import moments
from services.stack.postgres import EmbeddedPostgres, _binaries, free_port
from shared.db import connect, transaction
from shared.migrate import migrate
from shared.settings import SERVICES, Settings, libpq_url

OLDER = """
    do $$ begin
        for each in 1..20000 loop perform pg_current_xact_id(); commit; end loop;
    end $$
"""
COUNTED = """
    select (select sum(c.customers) from experiments.cohort as c where c.experiment_id = %(id)s),
           (select sum(o.value) from experiments.outcome as o where o.experiment_id = %(id)s)
"""


@pytest.fixture
def young(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A cluster that has seen few transactions."""
    server = EmbeddedPostgres(tmp_path / "postgres", free_port(), "attune-test")
    server.start()
    yield server
    server.stop()


def restored(settings: Settings, into: EmbeddedPostgres, dump: Path) -> Settings:
    """The database of `settings` dumped and restored as documented, and the settings of the copy."""
    programs, copy = _binaries(), sa.make_url(into.url)
    for program, *arguments in (
        ("pg_dump", f"--dbname={libpq_url(settings.database_url)}", "--format=custom", f"--file={dump}"),
        (
            "pg_restore",
            f"--dbname={libpq_url(into.url)}",
            "--no-privileges",
            "--no-owner",
            "--exit-on-error",
            str(dump),
        ),
    ):
        subprocess.run([str(programs / program), *arguments], check=True)

    def moved(url: str) -> str:
        place = {"host": copy.host, "port": copy.port, "database": copy.database}
        return sa.make_url(url).set(**place).render_as_string(hide_password=False)

    services = {f"{service}_database_url": moved(settings.database_of(service)) for service in SERVICES}
    return settings.model_copy(update={"database_url": into.url, **services})


def test_a_restored_copy_has_its_customers_its_archive_and_what_was_not_counted_yet(
    experiments, experiment, metric, split, respond, work, settings, owner_engine, young, tmp_path, unique
):
    with owner_engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(OLDER)
    live, away = (experiment(name, metrics={"primary": metric(name, kind="count")}) for name in ("live", "away"))
    a, b, c = (f"{unique}-{name}" for name in "abc")
    split(live["key"], {a: "mail", b: "nobody"})
    split(away["key"], {c: "mail"})
    respond((a, 1, {}), (c, 1, {}))
    work("experiments")
    for move in ("stop", "archive"):
        assert experiments.post(f"/v1/experiments/{away['key']}/{move}").status_code == 200
    respond((b, 2, {}), (b, 3, {"kind": "unsubscribed", "properties": {"channel": "post"}}), (c, 2, {}))

    copy = restored(settings, young, tmp_path / "attune.dump")
    migrate(copy)
    migrate(copy)
    counting = connect(copy.database_of("experiments"), name="tests")
    assert outcomes.tick(lambda: transaction(counting)) >= 2
    assert outcomes.tick(lambda: transaction(counting)) == 0
    with transaction(counting) as db:  # of the archive only the outcome differs that came too late for it
        assert [moments.disagreements(db, each["id"]) for each in (live, away)] == [0, 1]
    permitting = connect(copy.database_of("audience"), name="tests")
    with transaction(permitting) as db:
        consents.take_withdrawals(db)
    owner = connect(copy.database_url, name="tests")
    with owner.connect() as connection:
        counted = {
            each["name"]: tuple(connection.exec_driver_sql(COUNTED, {"id": each["id"]}).one()) for each in (live, away)
        }
        states = connection.exec_driver_sql("select state from audience.consent where customer_id = %s", (b,)).scalars()
        assert list(states) == ["withdrawn"]
    assert counted == {live["name"]: (2, 2), away["name"]: (1, 1)}
    for engine in (counting, permitting, owner):
        engine.dispose()
