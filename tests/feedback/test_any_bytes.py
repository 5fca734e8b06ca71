"""Whatever is sent, the door answers with a verdict or a reason, and sending it again adds nothing."""

import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

TYPES = ["application/json", "application/x-ndjson", "text/csv"]
QUICK = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

texts = st.text(max_size=8)
names = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=8)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
anything = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))
fields = st.sampled_from(
    ["event_id", "customer_id", "kind", "occurred_at", "value", "currency", "text", "properties", "campaign", "arm"]
)


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    """Events that are mostly well formed."""
    month, day, zone = draw(st.integers(1, 12)), draw(st.integers(1, 28)), draw(st.sampled_from(["Z", "+02:00", ""]))
    event: dict[str, Any] = {
        "customer_id": draw(names),
        "kind": draw(st.sampled_from(["order", "view", "unsubscribed", "review"])),
        "occurred_at": f"2023-{month:02}-{day:02}T10:00:00{zone}",
        "value": draw(st.sampled_from(["1.50", 3, 0.1, "0", "9" * 20])),
        "properties": draw(st.none() | st.dictionaries(texts, anything, max_size=3)),
    }
    if draw(st.booleans()):
        event["event_id"] = draw(names)
    if draw(st.integers(0, 3)) == 0:
        event[draw(fields)] = draw(anything)
    return event


def items_of(report: dict[str, Any]) -> int:
    return int(report["accepted"] + report["duplicates"] + report["conflicts"] + report["refused"])


@pytest.mark.parametrize("kind", TYPES)
@QUICK
@given(body=st.binary(max_size=400) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_get_an_answer(feedback: httpx.Client, kind: str, body: bytes) -> None:
    answer = feedback.post("/v1/events", content=body, headers={"Content-Type": kind})
    assert answer.status_code in (200, 400, 413, 422), answer.text


@QUICK
@given(value=anything)
def test_any_json_gets_an_answer(feedback: httpx.Client, value: Any) -> None:
    answer = feedback.post("/v1/events", content=json.dumps(value), headers={"Content-Type": "application/json"})
    assert answer.status_code in (200, 400, 422), answer.text


@QUICK
@given(batch=st.lists(events(), max_size=8), lines=st.booleans())
def test_every_item_has_one_verdict_and_sending_again_adds_nothing(
    feedback: httpx.Client, batch: list[dict[str, Any]], lines: bool
) -> None:
    body = "\n".join(map(json.dumps, batch)) if lines else json.dumps(batch)
    header = {"Content-Type": TYPES[lines]}
    first = feedback.post("/v1/events", content=body, headers=header)
    assert first.status_code == 200, first.text
    again = feedback.post("/v1/events", content=body, headers=header).json()
    assert items_of(first.json()) == items_of(again) == len(batch)
    assert again["accepted"] == 0
    assert again["conflicts"] == first.json()["conflicts"]
    assert again["refused"] == first.json()["refused"]


@QUICK
@given(batch=st.lists(events(), min_size=1, max_size=4))
def test_one_by_one_gives_the_same_verdicts_as_together(feedback: httpx.Client, batch: list[dict[str, Any]]) -> None:
    together = feedback.post("/v1/events", json=batch) if _is_json(batch) else None
    for index, event in enumerate(batch):
        alone = feedback.post("/v1/events", content=json.dumps(event), headers={"Content-Type": "application/json"})
        assert alone.status_code in (200, 400, 409, 422), alone.text
        if together is not None:
            refused = index in [item["index"] for item in together.json()["rejected"]]
            assert refused == (alone.status_code in (400, 422))


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False).encode()
    except ValueError:
        return False
    return True
