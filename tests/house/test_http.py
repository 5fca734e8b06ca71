"""The HTTP interface as callers may rely on it."""

import importlib
import pkgutil
from collections.abc import Iterator

import httpx
import pytest
from pydantic import ValidationError

from shared import contracts
from shared.contracts.base import Message
from shared.settings import SERVICES
from tests.house.test_database import check_snapshot


def described(document: dict[str, object]) -> str:
    """One line for each operation and each field of its messages, in a stable order."""
    found = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parameters = sorted(f"{one['in']}:{one['name']}" for one in operation.get("parameters", []))
            body = sorted(operation.get("requestBody", {}).get("content", {}))
            answers = sorted(status for status in operation["responses"] if status.startswith("2"))
            found.append(f"{method.upper()} {path} {' '.join(parameters + body)} -> {' '.join(answers)}")
    for name, schema in document["components"]["schemas"].items():
        required = set(schema.get("required", []))
        found += [f"{name}.{field}{'' if field in required else '?'}" for field in schema.get("properties", {})]
    return "\n".join(sorted(found)) + "\n"


@pytest.mark.parametrize("service", SERVICES)
def test_the_interface_is_the_one_agreed(request: pytest.FixtureRequest, service: str) -> None:
    client: httpx.Client = request.getfixturevalue(service)
    check_snapshot(f"{service}.txt", described(client.get("/openapi.json").json()))


@pytest.mark.parametrize("service", SERVICES)
def test_every_operation_says_what_it_does_and_every_body_has_an_example(
    request: pytest.FixtureRequest, service: str
) -> None:
    document = request.getfixturevalue(service).get("/openapi.json").json()
    silent, bare = [], []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if not operation.get("description"):
                silent.append(f"{method} {path}")
            for kind, content in operation.get("requestBody", {}).get("content", {}).items():
                schema = content.get("schema", {})
                resolved = document["components"]["schemas"].get(schema.get("$ref", "").rpartition("/")[2], schema)
                if not (
                    "example" in content or "examples" in content or "examples" in resolved or "example" in resolved
                ):
                    bare.append(f"{method} {path} {kind}")
    assert (silent, bare) == ([], [])


@pytest.mark.parametrize("service", SERVICES)
def test_every_operation_beside_the_open_doors_wants_a_key(request: pytest.FixtureRequest, service: str) -> None:
    client: httpx.Client = request.getfixturevalue(service)
    open_doors = {"/healthz", "/readyz", "/metrics"}
    for path, operations in client.get("/openapi.json").json()["paths"].items():
        for method in operations:
            if path not in open_doors:
                address = path.replace("{", "").replace("}", "")
                answer = httpx.request(method, f"{client.base_url}{address}", json={})
                assert answer.status_code == 401, f"{method} {path}"


@pytest.mark.parametrize("service", SERVICES)
def test_no_operation_takes_a_query_parameter_it_does_not_know(request: pytest.FixtureRequest, service: str) -> None:
    client: httpx.Client = request.getfixturevalue(service)
    open_doors = {"/healthz", "/readyz", "/metrics"}
    for path, operations in client.get("/openapi.json").json()["paths"].items():
        for method in set(operations) if path not in open_doors else ():
            answer = client.request(method, path.replace("{", "").replace("}", ""), params={"dimension": "country"})
            assert answer.status_code == 422, f"{method} {path}"
            assert "#query/dimension" in {error["pointer"] for error in answer.json()["errors"]}, f"{method} {path}"


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("address", ["/healthz/%ff", "/healthz?of=%C3", "/healthz?%ff=a"])
def test_an_address_that_is_not_utf8_is_refused_and_never_taken_for_another(
    request: pytest.FixtureRequest, service: str, address: str
) -> None:
    answer = request.getfixturevalue(service).get(address)
    assert (answer.status_code, answer.json()["detail"]) == (422, "The address is not UTF-8.")


def every_message(of: type[Message] = Message) -> Iterator[type[Message]]:
    for message in of.__subclasses__():
        yield message
        yield from every_message(message)


def test_no_text_that_is_too_long_is_said_to_have_too_many_items() -> None:
    for module in pkgutil.iter_modules(contracts.__path__, "shared.contracts."):
        importlib.import_module(module.name)
    odd = set()
    for message in every_message():
        for name, field in message.model_fields.items():
            try:
                message.model_validate({field.alias or name: "x" * 30_000})
            except ValidationError as error:
                told = [one for one in error.errors() if one["loc"][:1] == (field.alias or name,)]
                odd |= {f"{message.__name__}.{name}" for one in told if one["msg"].startswith("Value should have")}
    assert odd == set()
