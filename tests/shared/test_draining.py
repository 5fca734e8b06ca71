"""Refusals arrive, also with clients that send all before they read."""

import json
import socket
import threading
import time
import urllib.request
from contextlib import closing
from http.client import HTTPResponse
from urllib.error import HTTPError

import httpx
import pytest
import uvicorn

from services.stack.postgres import free_port
from shared.service import Service, create_app
from shared.settings import Settings
from shared.telemetry import configure_logging
from tests.conftest import KEY


@pytest.mark.parametrize(
    ("path", "status"),
    [("/v1/things", 413), ("/v1/things?colour=red", 422), ("/v1/nothing", 404)],
)
def test_a_client_that_sends_a_large_body_before_it_reads_sees_why_it_is_refused(
    toy: httpx.Client, path: str, status: int
) -> None:
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    body = b'"' + b"x" * 10_000_000 + b'"'
    for _ in range(3):  # whether the machine resets such a connection depends on chance
        request = urllib.request.Request(str(toy.base_url.join(path)), body, headers)
        with pytest.raises(HTTPError) as refused:
            urllib.request.urlopen(request, timeout=20)
        with refused.value as answer:
            assert (answer.code, b'"status"' in answer.read()) == (status, True)


def test_a_refusal_does_not_wait_for_the_body_and_its_connection_not_long(
    toy: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.draining.MOST_SECONDS", 0.5)
    head = "POST /v1/nothing HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: 10000000\r\n\r\n"
    address = (toy.base_url.host, toy.base_url.port or 80)
    with closing(socket.create_connection(address, timeout=20)) as sender:
        began = time.monotonic()
        sender.sendall(head.encode())
        assert b"404" in sender.recv(65_536)
        while sender.recv(65_536):
            pass
        assert time.monotonic() - began < 10


def test_who_is_cut_off_by_a_shutdown_is_told_to_come_again(
    database: str, toy_service: Service, settings: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    configure_logging(settings, "audience")
    port = free_port()
    app = create_app(toy_service, settings)
    config = uvicorn.Config(app, port=port, log_config=None, access_log=False, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
    head = f"POST /v1/things/count HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {KEY}\r\nContent-Length: 9\r\n\r\n"
    with closing(socket.create_connection(("127.0.0.1", port), timeout=20)) as sender:
        sender.sendall(head.encode() + b"{}\n")
        time.sleep(0.5)
        server.should_exit = True
        answer = HTTPResponse(sender)
        answer.begin()
        told = json.loads(answer.read())
    thread.join(20)
    configure_logging(settings.model_copy(update={"log_level": "error"}), "audience")
    assert (answer.status, answer.headers["content-type"]) == (503, "application/problem+json")
    assert (answer.headers["retry-after"], told["type"]) == ("2", "urn:attune:problem:unavailable")
    written = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [line["status"] for line in written if line["event"] == "request answered"] == [503]
    assert [line["event"] for line in written if "ASGI" in line["event"]] == []
