"""The load generator: ready-made requests over a number of connections, in a process of its own.

It speaks HTTP/1.1 on plain sockets, because a client library would need more of a core than the service it measures.
"""

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context

import httpx

from tests.bench.installation import KEY


@contextmanager
def generator() -> Iterator[ProcessPoolExecutor]:
    """A process beside the benchmark's; give it functions of this kind with `submit`."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield pool


def request(path: str, body: str, kind: str = "application/json") -> bytes:
    """A POST with the benchmark's key, as it goes over the wire."""
    content = body.encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {KEY}\r\n"
        f"Content-Type: {kind}\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


def exchange(url: str, requests: Sequence[bytes], connections: int) -> tuple[float, list[bytes]]:
    """Seconds from the first byte sent to the last answer received, and the answers' bodies, in no order.

    The requests are shared out; each connection sends its next one after the last was answered.
    """
    address = httpx.URL(url)
    answers: list[bytes] = []
    talk = partial(_converse, (address.host, address.port or 80), answers=answers)
    shares = [requests[number::connections] for number in range(connections)]
    threads = [threading.Thread(target=talk, args=(share,)) for share in shares]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - started
    if len(answers) != len(requests):
        raise RuntimeError(f"{len(answers)} of {len(requests)} requests were answered")
    return took, answers


def _converse(address: tuple[str, int], requests: Sequence[bytes], answers: list[bytes]) -> None:
    with socket.create_connection(address) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        received = connection.makefile("rb")
        for each in requests:
            connection.sendall(each)
            length = 0
            while (line := received.readline()) not in (b"\r\n", b""):
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            answers.append(received.read(length))
