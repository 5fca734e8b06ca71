"""What the tests of feedback share."""

from collections.abc import Callable
from typing import Any

import pytest

Make = Callable[..., dict[str, Any]]


@pytest.fixture
def event(unique: str) -> Make:
    """`event(3, value="5.00")`: a well-formed event with a number of its own, changed as said."""

    def make(number: int = 0, **changed: Any) -> dict[str, Any]:
        plain = {
            "event_id": f"{unique}-e{number}",
            "customer_id": f"{unique}-c{number % 10}",
            "kind": "order",
            "occurred_at": "2024-05-01T12:00:00Z",
            "value": "12.50",
            "currency": "EUR",
            "properties": {"category": "shoes", "order_id": f"o-{number}"},
        }
        return {name: value for name, value in (plain | changed).items() if value is not ...}

    return make
