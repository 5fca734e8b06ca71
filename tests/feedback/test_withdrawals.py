"""Who says no is heard at once: the withdrawal stands when the call returns, with Postgres alone."""

from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from tests.feedback.conftest import Make

WITHDRAWN = sa.text("""
    select w.brand, w.channel, w.purpose, w.reason, w.event_id, w.batch_id, w.xid is not null as placed
      from published.feedback_withdrawals as w
     where w.customer_id = :customer
""")


def withdrawn(engine: sa.Engine, customer: str) -> list[dict[str, Any]]:
    with engine.connect() as db:
        return [dict(row) for row in db.execute(WITHDRAWN, {"customer": customer}).mappings()]


@pytest.mark.parametrize("kind", ["unsubscribed", "complained"])
@pytest.mark.parametrize("listed", [False, True])
def test_a_withdrawal_is_published_when_the_call_returns(
    feedback: httpx.Client, owner_engine: sa.Engine, event: Make, kind: str, listed: bool
) -> None:
    sent = event(kind=kind, value=..., currency=..., properties={"channel": "email", "brand": "north"})
    assert feedback.post("/v1/events", json=[sent] if listed else sent).json()["accepted"] == 1
    (found,) = withdrawn(owner_engine, sent["customer_id"])
    scope = (found["brand"], found["channel"], found["purpose"], found["reason"])
    assert scope == ("north", "email", None, kind)
    assert found["placed"]


def test_a_withdrawal_that_names_nothing_covers_all(
    feedback: httpx.Client, owner_engine: sa.Engine, event: Make
) -> None:
    feedback.post("/v1/events", json=event(kind="unsubscribed", value=..., properties=...))
    (found,) = withdrawn(owner_engine, event()["customer_id"])
    assert (found["brand"], found["channel"], found["purpose"]) == (None, None, None)


def test_only_a_hard_bounce_closes_the_channel(feedback: httpx.Client, owner_engine: sa.Engine, event: Make) -> None:
    soft = event(0, kind="bounced", value=..., properties={"bounce": "soft"})
    hard = event(1, kind="bounced", value=..., properties={"bounce": "hard"})
    feedback.post("/v1/events", json=[soft, hard])
    assert withdrawn(owner_engine, soft["customer_id"]) == []
    (found,) = withdrawn(owner_engine, hard["customer_id"])
    assert (found["channel"], found["reason"]) == ("email", "bounced")


def test_a_withdrawal_sent_again_or_in_conflict_adds_nothing(
    feedback: httpx.Client, owner_engine: sa.Engine, event: Make
) -> None:
    first = event(kind="unsubscribed", value=..., properties={"channel": "email"})
    for changed in (first, first, first | {"properties": {"channel": "sms"}}):
        feedback.post("/v1/events", json=[changed])
    (found,) = withdrawn(owner_engine, first["customer_id"])
    assert found["channel"] == "email"


def test_a_refused_item_beside_it_does_not_keep_a_withdrawal_from_being_heard(
    feedback: httpx.Client, owner_engine: sa.Engine, event: Make
) -> None:
    feedback.post("/v1/events", json=[event(0, kind="unsubscribed", value=...), event(1, colour="red")])
    assert len(withdrawn(owner_engine, event(0)["customer_id"])) == 1
