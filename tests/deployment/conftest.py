"""The deployed stack, one for all tests here."""

from collections.abc import Iterator

import pytest

from tests.deployment.running import Running, deployed


@pytest.fixture(scope="session")
def running(postgres_url: str) -> Iterator[Running]:
    """Services and workers as docker-compose.yml runs them."""
    with deployed(postgres_url) as running:
        yield running
