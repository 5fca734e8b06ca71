"""Slow senders take places of their own: other calls are answered, and one sender too many is told to come again."""

import json
import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPResponse

import httpx
import pytest

from shared.uploads import MOST_AT_ONCE
from tests.conftest import KEY

NDJSON = "application/x-ndjson"


@pytest.fixture
def places(audience: httpx.Client, experiments: httpx.Client, feedback: httpx.Client, unique: str) -> dict[str, str]:
    """Where each service takes files."""
    metric = {"key": unique, "kind": "proportion", "event": "order", "window_days": 14}
    experiments.post("/v1/metrics", json=metric).raise_for_status()
    design = {
        "key": unique,
        "hypothesis": "Writing helps.",
        "arms": [{"key": "nobody", "weight": 0.5, "control": True}, {"key": "mail", "weight": 0.5}],
        "metrics": {"primary": unique},
        "planned_size": 100,
    }
    experiments.post("/v1/experiments", json=design).raise_for_status()
    experiments.post(f"/v1/experiments/{unique}/start").raise_for_status()
    assignments = f"/v1/experiments/{unique}/assignments?source=external"
    return {"audience": "/v1/customers", "experiments": assignments, "feedback": "/v1/events"}


@contextmanager
def trickling(client: httpx.Client, path: str, line: str) -> Iterator[socket.socket]:
    """A sender who sends one line and then takes its time."""
    address = (client.base_url.host, client.base_url.port or 80)
    with closing(socket.create_connection(address)) as sender:
        head = f"POST {path} HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {KEY}\r\nContent-Type: {NDJSON}\r\n"
        sender.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n{len(line):x}\r\n{line}\r\n".encode())
        yield sender


def answer_of(sender: socket.socket) -> HTTPResponse:
    answer = HTTPResponse(sender)
    answer.begin()
    return answer


def ended(sender: socket.socket) -> int:
    """End the body; the status of the answer."""
    sender.sendall(b"0\r\n\r\n")
    return answer_of(sender).status


@pytest.mark.parametrize("name", ["audience", "experiments", "feedback"])
def test_slow_uploads_leave_all_other_calls_alone(
    places: dict[str, str], request: pytest.FixtureRequest, unique: str, name: str
) -> None:
    client: httpx.Client = request.getfixturevalue(name)
    line = json.dumps({"customer_id": unique}) + "\n"
    with ExitStack() as slow:
        senders = [slow.enter_context(trickling(client, places[name], line)) for _ in range(MOST_AT_ONCE + 1)]
        (past, *others), _, _ = select.select(senders, [], [], 20)
        assert not others
        told = answer_of(past)
        assert (told.status, int(told.headers["retry-after"]) >= 1) == (429, True)
        senders.remove(past)
        for path in ("/healthz", "/readyz", "/v1/jobs"):
            assert client.get(path, timeout=5).status_code == 200
        assert {ended(sender) // 100 for sender in senders} == {2}
    assert client.post(places[name], content=line, headers={"Content-Type": NDJSON}).is_success


@pytest.mark.parametrize("pieces", [1, 2, 1000], ids=["byte by byte", "two by two", "at once"])
def test_a_byte_order_mark_costs_no_row_at_any_door(
    audience: httpx.Client,
    experiments: httpx.Client,
    feedback: httpx.Client,
    places: dict[str, str],
    unique: str,
    pieces: int,
) -> None:
    customer = {"customer_id": unique}
    assigned = {**customer, "arm": "mail", "assigned_at": "2026-03-02T09:00:00Z"}
    event = {**customer, "event_id": "1", "kind": "view", "occurred_at": "2026-03-02T09:00:00Z"}

    def taken(client: httpx.Client, path: str, told: object, kind: str) -> dict[str, object]:
        body = b"\xef\xbb\xbf" + json.dumps(told).encode()
        content = (body[at : at + pieces] for at in range(0, len(body), pieces))
        answer = client.post(path, content=content, headers={"Content-Type": kind})
        assert answer.is_success, answer.text
        return dict(answer.json())

    assert taken(audience, places["audience"], customer, NDJSON)["accepted"] == 1
    assert taken(audience, places["audience"], [customer], "application/json")["accepted"] == 1
    assert taken(experiments, places["experiments"], assigned, NDJSON)["assigned"] == 1
    assert taken(feedback, places["feedback"], event, NDJSON)["accepted"] == 1
    assert taken(feedback, places["feedback"], [event], "application/json")["duplicates"] == 1
    assert taken(feedback, places["feedback"], event, "application/json")["duplicates"] == 1
    assert taken(experiments, "/v1/assign", customer, "application/json")["customer_id"] == unique
