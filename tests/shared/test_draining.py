"""Refusals arrive, also with clients that send all before they read."""

import socket
import time
import urllib.request
from contextlib import closing
from urllib.error import HTTPError

import httpx
import pytest

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
