"""Long work: it ends once, can be cancelled while it waits or runs, and is tried again while that makes sense."""

import json
import threading
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import sqlalchemy as sa
from procrastinate.jobs import Job as Entry
from sqlmodel import Session

from shared import worker
from shared.db import transaction
from shared.errors import Invalid, PeerUnavailable
from shared.jobs import JobContext, Jobs, enqueue
from shared.queue import LONGEST_WAIT, PATIENCE, Patience, run_tick
from shared.service import Service, make_context
from shared.settings import Settings
from shared.telemetry import configure_logging
from tests.shared import conftest as toys


def drain(toy_service: Service, settings: Settings) -> None:
    context = make_context(toy_service, settings, "worker")
    worker.drain(toy_service.jobs, context, settings.audience_database_url)
    context.engine.dispose()


def finished(toy: httpx.Client, job_id: str) -> dict[str, object]:
    found: dict[str, object] = toy.get(f"/v1/jobs/{job_id}").json()
    return found


def test_jobs_end_with_a_result_or_a_problem(toy: httpx.Client, toy_service: Service, settings: Settings) -> None:
    started = [toy.post("/v1/things/long", json={"name": kind, "extra": 21}) for kind in ("double", "refuse", "crash")]
    assert [answer.status_code for answer in started] == [202] * 3
    assert started[0].headers["location"] == f"/v1/jobs/{started[0].json()['id']}"
    drain(toy_service, settings)
    good, refused, crashed = (finished(toy, answer.json()["id"]) for answer in started)
    assert (good["state"], good["progress"], good["result"]) == ("succeeded", 1, {"doubled": 42})
    assert (refused["state"], refused["problem"]["errors"]) == ("failed", [{"pointer": "/extra", "detail": "wrong"}])
    assert (crashed["state"], crashed["problem"]["code"]) == ("failed", "internal")


def test_a_job_that_breaks_is_logged_with_kind_and_place_and_without_what_it_saw(
    toy: httpx.Client, toy_service: Service, settings: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    configure_logging(settings, "audience-worker")
    crashing = toy.post("/v1/things/long", json={"name": "crash"}).json()["id"]
    drain(toy_service, settings)
    configure_logging(settings.model_copy(update={"log_level": "error"}), "audience")
    written = capfd.readouterr().err
    (seen,) = [line for line in map(json.loads, written.splitlines()) if line["event"] == "job broke"]
    assert (seen["job_id"], seen["level"], seen["error"]) == (crashing, "error", "ZeroDivisionError")
    assert seen["where"].startswith("shared.queue:")
    assert "secret@example.org" not in written


@pytest.mark.parametrize(
    ("statement", "said"),
    [("select 1e200::float8 * 1e200::float8", ("periodic work broke", "error")),
     ("set local lock_timeout = '10ms'; lock table audience.job", ("periodic work postponed", "warning"))],
)  # fmt: skip
def test_periodic_work_that_no_later_time_mends_is_an_error(
    toy_service: Service, settings: Settings, owner_engine: sa.Engine, capfd: pytest.CaptureFixture[str],
    statement: str, said: tuple[str, str],
) -> None:  # fmt: skip
    def tick(_: JobContext) -> None:
        with transaction(owner_engine) as db:
            db.execute(sa.text(statement))

    configure_logging(settings, "audience-worker")
    with owner_engine.begin() as other:
        other.exec_driver_sql("lock table audience.job")
        run_tick("tick", tick, make_context(toy_service, settings, "worker"))
    configure_logging(settings.model_copy(update={"log_level": "error"}), "audience")
    (seen,) = [json.loads(line) for line in capfd.readouterr().err.splitlines() if "periodic work" in line]
    assert (seen["event"], seen["level"], seen["tick"]) == (*said, "tick")


def test_a_queued_job_is_cancelled_at_once_and_a_running_one_between_chunks(
    toy: httpx.Client, toy_service: Service, settings: Settings
) -> None:
    queued = toy.post("/v1/things/long", json={"name": "double", "extra": 1}).json()["id"]
    assert toy.post(f"/v1/jobs/{queued}/cancel").json()["state"] == "cancelled"
    running = toy.post("/v1/things/long", json={"name": "wait"}).json()["id"]
    thread = threading.Thread(target=drain, args=(toy_service, settings))
    thread.start()
    assert toys.began.wait(20)
    assert toy.post(f"/v1/jobs/{running}/cancel").json()["state"] == "running"
    toys.go_on.set()
    thread.join(20)
    assert finished(toy, running)["state"] == "cancelled"
    assert finished(toy, queued)["state"] == "cancelled"
    assert toy.post(f"/v1/jobs/{queued}/cancel").status_code == 409


def test_a_job_of_an_unfinished_transaction_does_not_exist(toy: httpx.Client, audience_engine: sa.Engine) -> None:
    with audience_engine.connect() as connection:
        before = connection.exec_driver_sql(
            "select (select count(*) from job), (select count(*) from procrastinate_jobs)"
        ).one()
    with Session(audience_engine) as db:
        enqueue(db, "double", {"extra": 1})
        db.rollback()
    with audience_engine.connect() as connection:
        after = connection.exec_driver_sql(
            "select (select count(*) from job), (select count(*) from procrastinate_jobs)"
        ).one()
    assert after == before


def while_it_runs(toy_service: Service, settings: Settings) -> threading.Thread:
    """A worker in the middle of a job; `toys.go_on` lets it go on."""
    toys.began.clear()
    toys.go_on.clear()
    thread = threading.Thread(target=drain, args=(toy_service, settings))
    thread.start()
    assert toys.began.wait(20)
    return thread


def test_what_waits_for_somebody_away_says_so_until_it_is_cancelled(
    toy: httpx.Client, toy_service: Service, settings: Settings
) -> None:
    job = toy.post("/v1/things/long", json={"name": "away"}).json()["id"]
    toys.go_on.set()
    drain(toy_service, settings)
    waiting = finished(toy, job)
    assert (waiting["state"], waiting["problem"]) == (
        "queued",
        {"code": "unavailable", "detail": "Waiting to try again."},
    )
    cancelled = toy.post(f"/v1/jobs/{job}/cancel").json()
    assert (cancelled["state"], cancelled["problem"]) == ("cancelled", None)


def test_a_job_that_was_cancelled_while_it_ran_into_somebody_away_does_not_wait_for_him(
    toy: httpx.Client, toy_service: Service, settings: Settings
) -> None:
    job = toy.post("/v1/things/long", json={"name": "away"}).json()["id"]
    toys.ended.clear()
    thread = while_it_runs(toy_service, settings)
    assert toy.post(f"/v1/jobs/{job}/cancel").json()["state"] == "running"
    toys.go_on.set()
    thread.join(20)
    cancelled = finished(toy, job)
    assert (cancelled["state"], cancelled["problem"]) == ("cancelled", None)
    assert toys.ended == [("cancelled", "It was cancelled.")]


def test_a_job_that_met_nobody_for_a_week_is_given_up_and_ended(
    toy: httpx.Client, toy_service: Service, settings: Settings, audience_engine: sa.Engine
) -> None:
    job = toy.post("/v1/things/long", json={"name": "away"}).json()["id"]
    first = datetime.now(UTC) - PATIENCE - timedelta(seconds=1)
    with audience_engine.begin() as connection:
        connection.execute(sa.text("update job set started_at = :first where id = :id"), {"first": first, "id": job})
    toys.ended.clear()
    toys.go_on.set()
    drain(toy_service, settings)
    given_up = finished(toy, job)
    assert (given_up["state"], given_up["problem"]["code"]) == ("failed", "unavailable")
    assert toys.ended == [("failed", given_up["problem"]["detail"])]


@pytest.mark.parametrize(("entry", "state"), [("failed", "queued"), ("failed", "running"), (None, "queued")])
def test_a_job_that_an_earlier_release_left_without_another_attempt_ends(
    toy: httpx.Client, toy_service: Service, settings: Settings, audience_engine: sa.Engine,
    entry: str | None, state: str,
) -> None:  # fmt: skip
    left, waits = (toy.post("/v1/things/long", json={"name": "away"}).json()["id"] for _ in range(2))
    leave = "update procrastinate_jobs set status = cast(:entry as procrastinate_job_status)"
    leave = leave if entry else "delete from procrastinate_jobs"
    with audience_engine.begin() as connection:
        connection.execute(sa.text(f"{leave} where args ->> 'job_id' = :id"), {"entry": entry, "id": left})
        connection.execute(sa.text("update job set state = :state where id = :id"), {"state": state, "id": left})
    toys.ended.clear()
    seen_to = Jobs("audience")
    seen_to.endings = toy_service.jobs.endings
    worker.see_to_abandoned(seen_to)
    for _ in range(2):
        seen_to.run_ticks(make_context(toy_service, settings, "worker"))
    ended = finished(toy, left)
    assert (ended["state"], ended["problem"]["code"]) == ("failed", "unavailable")
    assert toys.ended == [("failed", ended["problem"]["detail"])]
    assert toy.post(f"/v1/jobs/{waits}/cancel").json()["state"] == "cancelled"


@pytest.mark.parametrize("attempts", [0, 3, 6, 20, 10_000])
def test_work_resumes_a_minute_after_what_was_away_is_back_however_long_it_was(attempts: int) -> None:
    entry = Entry(id=1, queue="audience", lock=None, queueing_lock=None, task_name="run", attempts=attempts)
    decision = Patience().get_retry_decision(exception=PeerUnavailable("away"), job=entry)
    assert decision is not None
    assert decision.retry_at is not None
    wait = decision.retry_at - datetime.now(UTC)
    assert timedelta(0) < wait <= timedelta(seconds=min(LONGEST_WAIT, 2 ** min(attempts + 1, 10)))
    assert Patience().get_retry_decision(exception=Invalid("wrong"), job=entry) is None
