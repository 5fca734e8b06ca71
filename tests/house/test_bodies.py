"""What all bodies have in common, in all services."""

import hashlib
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import httpx
import pytest

from shared.contracts.assignments import ExternalAssignment
from shared.contracts.audience import AllowedRange, CustomerRow, TraitsRow
from shared.contracts.base import Message
from shared.contracts.feedback import Event
from shared.service import create_app
from shared.settings import SERVICES, Settings
from tests.conftest import service_of

# Rows of streams, and what validators build by themselves: no document and no schema leads to them.
ROWS = (CustomerRow, TraitsRow, ExternalAssignment, Event, AllowedRange)


def _named(document: Any) -> Iterator[str]:
    """The schemas that a document refers to."""
    if isinstance(document, dict):
        if "$ref" in document:
            yield document["$ref"].rsplit("/", 1)[-1]
        document = list(document.values())
    if isinstance(document, list):
        for part in document:
            yield from _named(part)


def _messages(kind: type[Message] = Message) -> Iterator[type[Message]]:
    for each in kind.__subclasses__():
        yield each
        yield from _messages(each)


def _lax(schema: Any, place: str) -> Iterator[str]:
    """Where pydantic would make a number or a truth of something else."""
    if isinstance(schema, dict):
        if schema.get("type") in ("int", "float", "bool") and not schema.get("strict"):
            yield place
        for name, part in schema.items():
            if name not in ("metadata", "serialization", "json_schema_input_schema"):
                yield from _lax(part, f"{place}/{name}")
    elif isinstance(schema, list | tuple):
        for part in schema:
            yield from _lax(part, place)


@pytest.mark.parametrize("service", SERVICES)
def test_no_body_takes_a_number_or_a_truth_that_is_written_as_something_else(service: str, settings: Settings) -> None:
    known = {message.__name__: message for message in _messages()}
    paths = create_app(service_of(service), settings).openapi()["paths"].values()
    bodies = {name for path in paths for call in path.values() for name in _named(call.get("requestBody"))}
    models = [known[name] for name in sorted(bodies & known.keys())]
    assert models
    found = [one for model in (*models, *ROWS) for one in _lax(model.__pydantic_core_schema__, model.__name__)]
    assert found == []


@pytest.mark.parametrize("noun", ["segments", "campaigns", "metrics", "experiments"])
def test_what_has_a_key_is_found_by_it_or_by_its_id_in_any_case_and_32_digits_are_a_key(
    audience: httpx.Client, experiments: httpx.Client, unique: str, noun: str
) -> None:
    metric = {"kind": "proportion", "event": "order", "window_days": 14}
    experiments.post("/v1/metrics", json={**metric, "key": unique}).raise_for_status()
    arms = [{"key": "nobody", "weight": 0.5, "control": True}, {"key": "mail", "weight": 0.5}]
    bodies = {
        "segments": {"name": unique, "definition": {"consent": "email", "purpose": "marketing"}},
        "campaigns": {"name": unique, "channel": "email", "purpose": "marketing"},
        "metrics": metric,
        "experiments": {"hypothesis": "h", "arms": arms, "metrics": {"primary": unique}, "planned_size": 100},
    }
    client = audience if noun in ("segments", "campaigns") else experiments
    digits = hashlib.md5(unique.encode(), usedforsecurity=False).hexdigest()
    refused = client.post(f"/v1/{noun}", json={**bodies[noun], "key": str(UUID(digits)).upper()})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/key")
    made = client.post(f"/v1/{noun}", json={**bodies[noun], "key": digits})
    assert made.status_code == 201, made.text
    number = made.json()["id"]
    for reference, found in ((digits, 200), (number, 200), (number.upper(), 200), (number.replace("-", ""), 404)):
        answer = client.get(f"/v1/{noun}/{reference}")
        assert (answer.status_code, answer.json().get("id")) == (found, number if found == 200 else None)
