"""The loop stands on a whole stack of its own, as `attune demo` does: Postgres, three services, three workers."""

from collections.abc import Iterator

import pytest

from services.stack.target import Target
from services.stack.temporary import temporary_stack


@pytest.fixture(scope="session")
def stack() -> Iterator[Target]:
    """A running stack, the same for all tests of the loop."""
    with temporary_stack() as target:
        yield target
