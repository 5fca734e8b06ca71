"""While a release is rolled out, old and new processes read what the others answer and store."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from uuid import uuid4

import pytest
from pydantic import ValidationError

from shared.clients.audience import AudienceClient
from shared.clients.peer import peer_http
from shared.contracts.audience import TraitsPull
from shared.contracts.base import Message, read
from shared.contracts.segments import PreviewRequest, Segment
from shared.db import transaction
from shared.idempotency import STORE, Repeatable
from tests.shared import conftest as toys

DEFINITION = {"attribute": "city", "is": "eq", "value": "Lyon"}


class Part(Message):
    name: str


class Whole(Message):
    parts: list[Part]


@contextmanager
def of_another_release(answer: dict[str, object]) -> Iterator[AudienceClient]:
    """Audience as a process of another release answers, over HTTP."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with peer_http(f"http://127.0.0.1:{server.server_port}", "key") as http:
        yield AudienceClient(http)
    server.shutdown()
    thread.join()
    server.server_close()


def test_what_a_later_release_adds_to_an_answer_is_left_out_at_every_depth_and_callers_still_may_add_nothing() -> None:
    told = {"parts": [{"name": "a", "later": 1}], "later": {}}
    assert read(Whole, told) == read(Whole, json.dumps(told)) == Whole(parts=[Part(name="a")])
    with pytest.raises(ValidationError):
        Whole.model_validate(told)
    with pytest.raises(ValidationError):
        Whole.model_validate({"parts": [{"name": "a", "later": 1}]})


def test_a_rule_that_a_later_release_says_more_of_is_not_read_in_part() -> None:
    segment = {"id": str(uuid4()), "key": "s", "name": None, "version": 1, "definition": DEFINITION, "sentence": "",
               "created_at": str(datetime.now(UTC)), "revised_at": str(datetime.now(UTC)), "later": 1}  # fmt: skip
    assert read(Segment, segment).key == "s"
    with pytest.raises(ValidationError):
        read(Segment, segment | {"definition": DEFINITION | {"later": 1}})


def test_a_peer_of_an_earlier_or_a_later_release_is_understood() -> None:
    run = uuid4()
    taken = {"source": "rfm", "run": str(run), "customers": 2, "new_customers": 1, "later": 1}
    with of_another_release(taken) as audience:
        assert audience.pull_traits(TraitsPull(source="rfm", run=run)).objecting == 0
    counted = {"as_of": "2026-01-01T00:00:00Z", "count": 1, "known": 2, "share": 0.5, "sample": [], "sentence": "",
               "sql_ms": 1.0, "clauses": [{"path": "", "count": 1, "missing": None, "later": 1}]}  # fmt: skip
    with of_another_release(counted) as audience:
        assert audience.preview_segment(PreviewRequest.model_validate({"definition": DEFINITION})).count == 1


def test_a_repeat_gets_also_the_answer_that_a_later_release_stored(audience_engine, unique) -> None:
    once, body = Repeatable(unique, "POST /v1/things", "key"), toys.Thing(name="a")
    with transaction(audience_engine) as db:
        once(db, body, lambda: toys.Made(id="1", name="a"), toys.Made)
        place = {"caller": unique, "route": "POST /v1/things", "key": "key"}
        db.execute(STORE, place | {"answer": json.dumps({"id": "1", "name": "a", "later": 1})})
    with transaction(audience_engine) as db:
        assert once(db, body, lambda: toys.Made(id="2", name="a"), toys.Made).id == "1"
