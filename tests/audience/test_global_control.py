"""The global control group: a share of all customers who get no marketing from any list."""

from collections.abc import Iterator

import httpx
import pytest

from services.audience.control import control_of
from services.audience.draw import bound, lot
from services.stack.postgres import free_port
from shared.settings import Settings
from tests.conftest import KEY, serving

SHARE = 0.3
POINTS = [{"channel": "email", "handle": "h"}]
PURPOSES = ("marketing", "service")
CONSENTS = [{"channel": "email", "purpose": purpose, "state": "granted", "source": "test"} for purpose in PURPOSES]


@pytest.fixture(scope="module")
def controlled(settings: Settings, database: str) -> Iterator[httpx.Client]:
    """Audience as an installation runs it that keeps a global control group."""
    own = {"audience_url": f"http://127.0.0.1:{free_port()}", "global_control_share": SHARE}
    with serving("audience", settings.model_copy(update=own)) as url:
        yield httpx.Client(base_url=url, headers={"Authorization": f"Bearer {KEY}"}, timeout=60)


@pytest.fixture
def crowd(audience, load, unique):
    """Two hundred customers who can be contacted; gives their segment."""
    mark = f"mark_{unique}"
    audience.put(f"/v1/attributes/{mark}", json={"type": "boolean"})
    row = {"attributes": {mark: True}, "contact_points": POINTS, "consents": CONSENTS}
    load([{"customer_id": f"{unique}-{i:03}", **row} for i in range(200)])
    audience.post("/v1/segments", json={"key": unique, "definition": {"attribute": mark, "is": "eq", "value": True}})
    return unique


def in_control(settings, customer):
    control = control_of(settings.secret, SHARE, "marketing")
    return lot(control.seed, customer) < bound(SHARE)


def test_marketing_lists_leave_the_control_group_out(controlled, settings, crowd, unique):
    body = {"name": unique, "segment_id": crowd, "channel": "email", "purpose": "marketing"}
    built = controlled.post("/v1/target-lists", json=body).json()
    expected = {f"{unique}-{i:03}" for i in range(200) if not in_control(settings, f"{unique}-{i:03}")}
    assert 100 < len(expected) < 180
    assert next(s["removed"] for s in built["funnel"] if s["step"] == "not in global control") == 200 - len(expected)
    page = controlled.get(f"/v1/target-lists/{built['id']}/members", params={"limit": 1000}).json()
    assert {member["customer_id"] for member in page["items"]} == expected
    assert built["global_control_share"] == SHARE


def test_service_messages_reach_the_control_group_too(controlled, crowd, unique):
    body = {"name": unique, "segment_id": crowd, "channel": "email", "purpose": "service"}
    assert controlled.post("/v1/target-lists", json=body).json()["count"] == 200


def test_the_check_at_sending_keeps_the_control_group_out(controlled, settings, crowd, unique):
    customers = [f"{unique}-{i:03}" for i in range(200)]
    for purpose in PURPOSES:
        body = {"customer_ids": customers, "channel": "email", "purpose": purpose}
        checks = controlled.post("/v1/send-checks", json=body).json()["checks"]
        held = {check["customer_id"] for check in checks if check["reason"] == "in global control"}
        expected = {one for one in customers if in_control(settings, one)} if purpose == "marketing" else set()
        assert held == expected
