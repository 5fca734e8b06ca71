"""What tests of target lists share: customers who can be contacted, segments of them, lists and their members."""

import json
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

GRANTED = [{"channel": "email", "purpose": "marketing", "state": "granted", "source": "test"}]
POINTS = [{"channel": "email", "handle": "h"}]


def person(name, age=30, city="Lyon", **more):
    row = {"customer_id": name, "attributes": {"age": age, "city": city}}
    return {**row, "contact_points": POINTS, "consents": GRANTED, **more}


def segment_of(audience, load, unique, definition):
    """A segment narrowed to this test's customers by an attribute of their own."""
    own = f"mark_{unique}"
    audience.put(f"/v1/attributes/{own}", json={"type": "boolean"})
    known = [one["customer_id"] for one in everybody(audience) if one["customer_id"].startswith(unique)]
    load([{"customer_id": customer, "attributes": {own: True}} for customer in known])
    body = {"key": f"s-{unique}", "definition": {"all": [{"attribute": own, "is": "eq", "value": True}, definition]}}
    answer = audience.post("/v1/segments", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()["key"]


def everybody(audience):
    found, cursor = [], None
    while True:
        page = audience.get("/v1/customers", params={"limit": 1000} | ({"cursor": cursor} if cursor else {})).json()
        found += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return found


def wanted(segment, name, **more):
    return {"name": name, "segment_id": segment, "channel": "email", "purpose": "marketing", **more}


def build(audience, segment, name, **more):
    answer = audience.post("/v1/target-lists", json=wanted(segment, name, **more))
    assert answer.status_code == 201, answer.text
    return answer.json()


def members(audience, target_list):
    answer = audience.get(f"/v1/target-lists/{target_list['id']}/members", headers={"Accept": "application/x-ndjson"})
    assert answer.status_code == 200
    return [json.loads(line) for line in answer.text.splitlines()]


def removed(target_list):
    return {step["step"]: step["removed"] for step in target_list["funnel"]}


def event(engine, customer, days_ago, kind="sent", target_list=None):
    statement = sa.text("""
        insert into feedback.event (customer_id, event_id, kind, occurred_at, received_at, batch_id, target_list)
        values (:customer, cast(gen_random_uuid() as text), :kind, :at, :at, 0, :list)
    """)
    at = datetime.now(UTC) - timedelta(days=days_ago)
    with engine.begin() as connection:
        connection.execute(statement, {"customer": customer, "kind": kind, "list": target_list, "at": at})


def reasons(audience, list_id, customers):
    answer = audience.post("/v1/send-checks", json={"target_list_id": list_id, "customer_ids": customers})
    return [one["reason"] for one in answer.json()["checks"]]
