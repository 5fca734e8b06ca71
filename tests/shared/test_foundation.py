"""What every service promises, shown on a small one."""

import gzip
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import sqlalchemy as sa

from shared.auth import create_key, list_keys, revoke_key
from shared.db import transaction
from shared.idempotency import Repeatable
from shared.settings import Settings
from shared.telemetry import configure_logging, log_what_ends_the_process
from tests.conftest import SECRET
from tests.shared import conftest as toys


def pointers(answer: httpx.Response) -> set[str]:
    return {error["pointer"] for error in answer.json()["errors"]}


def test_errors_are_problem_documents_with_the_request_id(toy: httpx.Client) -> None:
    answer = toy.get("/v1/things/fail/conflict", headers={"X-Request-ID": "my-request"})
    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"] == "my-request"
    assert answer.json() == {
        "type": "urn:attune:problem:conflict", "title": "Conflict", "status": 409, "detail": "no",
        "instance": "/v1/things/fail/conflict", "request_id": "my-request",
    }  # fmt: skip


def test_who_must_wait_is_told_how_long(toy: httpx.Client) -> None:
    answer = toy.get("/v1/things/fail/busy")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")


def test_a_method_that_an_address_does_not_know_is_answered_with_those_it_knows(toy: httpx.Client) -> None:
    answer = toy.delete("/v1/jobs")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_bug_answers_500_without_a_word_of_what_it_saw(toy: httpx.Client) -> None:
    answer = toy.get("/v1/things/fail/bug")
    assert answer.status_code == 500
    assert "secret@example.org" not in answer.text


@pytest.mark.parametrize(
    ("body", "status", "at"),
    [
        (b'{"name": 3}', 422, {"/name"}),
        (b'{"name": "a", "nome": 1}', 422, {"/nome"}),
        (b"{}", 422, {"/name"}),
        (b"", 422, {""}),
        (b"[]", 422, {""}),
        (b"{", 400, set()),
        (b'{"name": "\xff"}', 400, set()),
        (b'{"name": "a", "extra": NaN}', 422, {""}),
        (b'{"name": "a", "extra": 1e999}', 422, {""}),
        (b'{"name": "a\\u0000"}', 422, {"/name"}),
        (b'{"name": "a", "extra": {"b": ["\\ud800"]}}', 422, {"/extra/b/0"}),
        (b'{"name": "a", "at": "2026-01-01T00:00:00"}', 422, {"/at"}),
        (b'{"name": "a", "at": "9999-12-31T23:59:59Z"}', 422, {"/at"}),
        (b'{"name": "a", "at": "9999-12-31T23:59:59-12:00"}', 422, {"/at"}),
        (b'{"name": "a", "at": "0001-01-01T00:00:00+12:00"}', 422, {"/at"}),
        (b'{"name": "a", "price": "NaN"}', 422, {"/price"}),
        (b'{"name": "a", "extra": ' + b"9" * 5000 + b"}", 422, set()),
        (b'{"name": "a", "extra": ' + b"[" * 100 + b"]" * 100 + b"}", 422, {"/extra" + "/0" * 64}),
        (b'{"name": "a", "extra": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 422, set()),
        (b'{"name": "' + b"a" * 2_000_000 + b'"}', 413, set()),
    ],
)
def test_bad_bodies_get_a_4xx_that_points_at_the_field(
    toy: httpx.Client, body: bytes, status: int, at: set[str]
) -> None:
    answer = toy.post("/v1/things", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    assert {error["pointer"] for error in answer.json().get("errors", [])} == at


def test_an_address_with_nul_is_refused(toy: httpx.Client) -> None:
    assert toy.get("/v1/things?of=%00").status_code == 422
    assert toy.get("/v1/things/fail/%00").status_code == 422


def test_query_parameters_that_a_call_does_not_know_are_refused_by_name(toy: httpx.Client) -> None:
    answer = toy.get("/v1/things", params={"limt": 2, "of": "all", "a/b": ""})
    assert (answer.status_code, pointers(answer)) == (422, {"#query/limt", "#query/a~1b"})
    assert "it knows cursor, limit, of" in answer.json()["errors"][0]["detail"]
    assert toy.post("/v1/things?dry_run=true", json={"name": "a"}).status_code == 422
    assert toy.get("/healthz?probe=1").status_code == 200


def test_pages_hold_every_item_once(toy: httpx.Client) -> None:
    found, cursor = [], None
    while True:
        params = {"limit": "99"} | ({"cursor": cursor} if cursor else {})
        answer = toy.get("/v1/things", params=params).json()
        found += answer["items"]
        cursor = answer["next_cursor"]
        if cursor is None:
            break
    assert found == list(range(250))


@pytest.mark.parametrize(
    "change", [lambda c: c[:-2] + "AA", lambda c: "x", lambda c: "é", lambda c: "bnVsbA", lambda c: "W10"]
)
def test_a_cursor_that_was_not_given_is_refused(toy: httpx.Client, change: Callable[[str], str]) -> None:
    cursor = toy.get("/v1/things", params={"limit": 2}).json()["next_cursor"]
    answer = toy.get("/v1/things", params={"limit": 2, "cursor": change(cursor)})
    assert (answer.status_code, pointers(answer)) == (422, {"#query/cursor"})


def test_a_cursor_of_another_query_is_refused(toy: httpx.Client) -> None:
    cursor = toy.get("/v1/things", params={"limit": 2}).json()["next_cursor"]
    assert toy.get("/v1/things", params={"limit": 2, "cursor": cursor, "of": "other"}).status_code == 422


def test_the_same_idempotency_key_gives_the_first_answer_again(toy: httpx.Client, unique: str) -> None:
    headers = {"Idempotency-Key": unique}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: toy.post("/v1/things", json={"name": "a"}, headers=headers), range(8)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert toy.post("/v1/things", json={"name": "b"}, headers=headers).status_code == 409
    assert toy.post("/v1/things", json={"name": "a"}).json()["id"] != answers[0].json()["id"]


def test_a_repeat_waits_for_the_first_however_long_it_takes(audience_engine: sa.Engine, unique: str) -> None:
    once, body = Repeatable("caller", "POST /v1/things", unique), toys.Thing(name="a")
    limits = sa.text("select current_setting('lock_timeout'), current_setting('statement_timeout')")

    def make(name: str) -> toys.Made:
        with transaction(audience_engine) as db:
            usual = db.execute(limits).one()
            db.execute(sa.text("set local lock_timeout = '50ms'"))
            made = once(db, body, lambda: toys.Made(id=unique, name=name), toys.Made)
            assert db.execute(limits).one() == usual
            if name == "first":
                claimed.set()
                go_on.wait(10)
            return made

    claimed, go_on = threading.Event(), threading.Event()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(make, "first")
        claimed.wait(10)
        second = pool.submit(make, "second")
        with pytest.raises(TimeoutError):
            second.result(timeout=0.5)
        go_on.set()
        assert (first.result().name, second.result().name) == ("first", "first")


def test_streams_are_counted_whole_gzipped_or_not(toy: httpx.Client) -> None:
    body = b'{"a": 1}\n\n{"a": 2}\r\nno json'
    for content, headers in ((body, {}), (gzip.compress(body), {"Content-Encoding": "gzip"})):
        assert toy.post("/v1/things/count", content=content, headers=headers).json() == {"rows": 3}
    assert toy.post("/v1/things/count", content=body, headers={"Content-Encoding": "gzip"}).status_code == 400
    assert toy.post("/v1/things/count", content=body, headers={"Content-Encoding": "br"}).status_code == 400


def test_a_gzip_body_of_several_members_is_read_to_its_end(toy: httpx.Client) -> None:
    members = [gzip.compress(b'{"a": %d}\n' % number) for number in range(3)]
    headers = {"Content-Encoding": "gzip"}
    whole = b"".join(members)
    assert toy.post("/v1/things/count", content=whole, headers=headers).json() == {"rows": 3}
    bytewise = (whole[at : at + 1] for at in range(len(whole)))
    assert toy.post("/v1/things/count", content=bytewise, headers=headers).json() == {"rows": 3}
    padding = bytes(100)
    for padded in (whole + padding, padding.join(members), iter([*members, padding, padding])):
        assert toy.post("/v1/things/count", content=padded, headers=headers).json() == {"rows": 3}
    for after in (b"no gzip", members[0][:-1], padding + b"no gzip"):
        assert toy.post("/v1/things/count", content=whole + after, headers=headers).status_code == 400


def test_a_body_that_swells_is_refused(toy: httpx.Client) -> None:
    bomb = gzip.compress(b"\n" * 9_000_000)
    for swelling in (bomb, gzip.compress(b"a\n") + bomb):
        assert toy.post("/v1/things/count", content=swelling, headers={"Content-Encoding": "gzip"}).status_code == 413
    assert toy.post("/v1/things/count", content=b"a\n" * 6_000_000).status_code == 413


def test_csv_keeps_lines_within_quotes_together(toy: httpx.Client) -> None:
    body = 'id,note\n1,"two\nlines, one row"\n2,café\n'.encode()
    assert toy.post("/v1/things/count?kind=csv", content=body).json() == {"rows": 2}
    assert toy.post("/v1/things/count?kind=csv", content=b"a,a\n1,2\n").status_code == 400


def test_without_a_valid_key_nothing_opens(toy: httpx.Client) -> None:
    for value in ("", "Bearer", "Bearer nonsense", "Bearer attune.00000000000000000000000000000000.x", "Basic !!"):
        answer = toy.get("/v1/things", headers={"Authorization": value})
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


def test_keys_open_their_scopes_until_they_are_revoked(
    toy: httpx.Client, owner_engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.auth.FRESH_FOR", 0.0)
    with transaction(owner_engine) as db:
        identifier, key = create_key(db, SECRET, "reader", ["audience:read"])
    headers = {"Authorization": f"Bearer {key}"}
    assert toy.get("/v1/things", headers=headers).status_code == 200
    assert toy.post("/v1/things", json={"name": "a"}, headers=headers).status_code == 403
    with transaction(owner_engine) as db:
        revoke_key(db, identifier)
        assert {one.id for one in list_keys(db) if one.revoked_at} >= {identifier}
        assert key.encode() not in repr(db.execute(sa.text("select * from access.api_key")).all()).encode()
    assert toy.get("/v1/things", headers=headers).status_code == 401


def test_open_doors_need_no_key(toy: httpx.Client) -> None:
    for path in ("/", "/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"):
        assert httpx.get(toy.base_url.join(path)).status_code == 200, path


def test_requests_are_counted_under_their_template_and_never_their_address(toy: httpx.Client) -> None:
    toy.get("/v1/things/fail/conflict")
    text = toy.get("/metrics").text
    assert 'route="/v1/things/fail/{how}",service="audience",status="409"' in text
    assert "fail/conflict" not in text


def test_what_libraries_log_of_an_error_is_its_kind_and_place_too(
    settings: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    configure_logging(settings, "audience")
    try:
        raise KeyError("secret@example.org")
    except KeyError:
        logging.getLogger("procrastinate").exception("job ended")
    configure_logging(settings.model_copy(update={"log_level": "error"}), "audience")
    written = capfd.readouterr().err
    assert json.loads(written)["error"] == "KeyError"
    assert "secret@example.org" not in written


@pytest.mark.parametrize(("thrown", "said"), [(KeyError, ["thread ended"]), (SystemExit, [])])
def test_a_thread_that_breaks_is_logged_and_one_that_ends_itself_is_not(
    settings: Settings, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    thrown: type[BaseException], said: list[str],
) -> None:  # fmt: skip
    def end() -> None:
        raise thrown("secret@example.org")

    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    configure_logging(settings, "audience")
    log_what_ends_the_process()
    thread = threading.Thread(target=end)
    thread.start()
    thread.join()
    configure_logging(settings.model_copy(update={"log_level": "error"}), "audience")
    written = capfd.readouterr().err
    assert [json.loads(line)["event"] for line in written.splitlines()] == said
    assert "secret@example.org" not in written


def test_roles_stay_within_their_schema(audience_engine: sa.Engine, database: str) -> None:
    for statement in ("select * from feedback.job", "create table audience.mine (a int)", "delete from access.api_key"):
        with audience_engine.connect() as connection, pytest.raises(sa.exc.ProgrammingError, match="permission denied"):
            connection.exec_driver_sql(statement)


def test_logs_are_json_and_name_no_customer(
    toy: httpx.Client, capfd: pytest.CaptureFixture[str], settings: Settings
) -> None:
    configure_logging(settings, "audience")
    toy.get("/v1/things/fail/conflict?customer=someone@example.org", headers={"X-Request-ID": "traced"})
    written, end = "", time.monotonic() + 10
    while "traced" not in written and time.monotonic() < end:  # the line follows the answer
        time.sleep(0.01)
        written += capfd.readouterr().err
    configure_logging(settings.model_copy(update={"log_level": "error"}), "audience")
    seen = [json.loads(line) for line in written.splitlines() if "traced" in line]
    assert [(line["event"], line["route"], line["status"]) for line in seen] == [
        ("request answered", "/v1/things/fail/{how}", 409)
    ]
    assert "someone@example.org" not in json.dumps(seen)


@pytest.mark.parametrize(
    ("command", "environment", "said"),
    [
        ("serve", {}, ("process not started", "ATTUNE_SECRET")),
        ("worker", {}, ("process not started", "ATTUNE_FEEDBACK_DATABASE_URL")),
        (
            "serve",
            {"ATTUNE_DATABASE_POOL": "s3cret", "ATTUNE_CURRENCY": "ZZZ"},
            ("process not started", "ATTUNE_CURRENCY"),
        ),
        ("worker", {"ATTUNE_FEEDBACK_DATABASE_URL": "s3cret"}, ("process ended", "shared.db:")),
    ],
    ids=["no secret", "no database", "wrong values", "no address"],
)
def test_a_process_that_cannot_go_on_says_why_in_json_and_ends(
    command: str, environment: dict[str, str], said: tuple[str, str]
) -> None:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("ATTUNE_")}
    process = [sys.executable, "-m", "services.feedback", command]
    ended = subprocess.run(process, env=plain | environment, capture_output=True, text=True, timeout=100)
    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    assert (ended.returncode, ended.stdout, lines[-1]["event"]) == (1, "", said[0])
    assert said[1] in lines[-1].get("reason", lines[-1].get("where"))
    assert "s3cret" not in ended.stderr
