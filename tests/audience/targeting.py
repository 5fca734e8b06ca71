"""What tests of target lists share: customers who can be contacted, segments of them, lists and their members."""

import json
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

GRANTED = [{"channel": "email", "purpose": "marketing", "state": "granted", "source": "test"}]
POINTS = [{"channel": "email", "handle": "h"}]


def person(name, age=30, city="Lyon", **more):
    """A row of a customer who can be contacted; the name's part before the dash is the crowd the customer is of."""
    row = {"customer_id": name, "attributes": {"age": age, "city": city, "crowd": name.partition("-")[0]}}
    return {**row, "contact_points": POINTS, "consents": GRANTED, **more}


def segment_of(audience, unique, definition):
    """A segment of this test's own crowd; gives its key."""
    own = {"attribute": "crowd", "is": "eq", "value": unique}
    answer = audience.post("/v1/segments", json={"key": f"s-{unique}", "definition": {"all": [own, definition]}})
    assert answer.status_code == 201, answer.text
    return answer.json()["key"]


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


def event(engine, customer, days_ago, kind="sent", target_list=None, campaign=None):
    statement = sa.text("""
        insert into feedback.event (customer_id, event_id, kind, occurred_at, received_at, batch_id, target_list,
                                    campaign)
        values (:customer, cast(gen_random_uuid() as text), :kind, :at, :at, 0, :list, :campaign)
    """)
    at = datetime.now(UTC) - timedelta(days=days_ago)
    with engine.begin() as connection:
        row = {"customer": customer, "kind": kind, "list": target_list, "campaign": campaign, "at": at}
        connection.execute(statement, row)


def reasons(audience, list_id, customers):
    answer = audience.post("/v1/send-checks", json={"target_list_id": list_id, "customer_ids": customers})
    return [one["reason"] for one in answer.json()["checks"]]
