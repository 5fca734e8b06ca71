"""Generated calls of every operation: no 5xx, no status that the interface does not document."""

import os

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import status_code_conformance

from shared.settings import SERVICES
from tests.conftest import KEY

EXAMPLES = int(os.environ.get("ATTUNE_FUZZ_EXAMPLES", "12"))


@pytest.mark.parametrize("service", SERVICES)
def test_no_generated_call_breaks_the_service(request: pytest.FixtureRequest, clean: None, service: str) -> None:
    client: httpx.Client = {name: request.getfixturevalue(name) for name in SERVICES}[service]  # peers answer too
    schema = schemathesis.openapi.from_url(f"{client.base_url}/openapi.json")
    headers = {"Authorization": f"Bearer {KEY}"}
    quiet = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
    checked = 0
    for result in schema.get_all_operations():
        operation = result.ok()

        @settings(
            max_examples=EXAMPLES, deadline=None, suppress_health_check=quiet, phases=[Phase.explicit, Phase.generate]
        )
        @schemathesis_given(operation)
        def call(case: schemathesis.Case) -> None:
            case.call_and_validate(headers=headers, checks=[not_a_server_error, status_code_conformance])

        call()
        checked += 1
    assert checked > 5


def schemathesis_given(operation: object) -> object:
    from hypothesis import given

    return given(case=operation.as_strategy())  # type: ignore[attr-defined]
