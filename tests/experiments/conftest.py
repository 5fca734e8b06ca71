"""A world in which experiments can be tried: customers on lists, and responses that arrive through feedback."""

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx
import numpy as np
import pytest
import sqlalchemy as sa

from shared.db import new_id

T0 = datetime(2026, 3, 2, 9, tzinfo=UTC)
ARMS = [
    {"key": "nobody", "weight": 0.5, "control": True},
    {"key": "mail", "weight": 0.5, "payload": {"template": "jackets"}, "cost_per_contact": "0.10"},
]

Row = dict[str, object]


def ndjson(rows: Iterable[Row]) -> bytes:
    return "".join(json.dumps(row, default=str) + "\n" for row in rows).encode()


def created(answer: httpx.Response) -> dict:
    assert answer.status_code in (200, 201), answer.text
    return answer.json()


def look(experiments: httpx.Client, key: str, as_of: datetime | None = None) -> dict:
    """Take a look that is new."""
    answer = experiments.post(f"/v1/experiments/{key}/looks", json={"as_of": as_of.isoformat()} if as_of else {})
    assert answer.status_code == 201, answer.text
    return answer.json()


def spread(unique: str, count: int) -> dict[str, str]:
    """So many customers, every other one in each arm."""
    return {f"{unique}-{n:04d}": ("nobody", "mail")[n % 2] for n in range(count)}


def buyers(arms: dict[str, str], shares: dict[str, float], seed: int = 1) -> list[str]:
    """Who responds, by the shares of the arms."""
    rng = np.random.default_rng(seed)
    return [customer for customer, arm in arms.items() if rng.random() < shares[arm]]


def split_in_waves(experiments: httpx.Client, key: str, t0: dict[str, datetime], arms: dict[str, str]) -> None:
    """Load a split in which each customer has a t0 of their own."""
    rows = [{"customer_id": customer, "arm": arm, "assigned_at": t0[customer]} for customer, arm in arms.items()]
    report = created(
        experiments.post(
            f"/v1/experiments/{key}/assignments?source=external",
            content=ndjson(rows),
            headers={"Content-Type": "application/x-ndjson"},
        )
    )
    assert report["new"] == len(arms)


@pytest.fixture
def metric(experiments: httpx.Client, unique: str) -> Callable[..., str]:
    """Create a metric and give its key; orders within 14 days by default."""

    def create(name: str = "orders", **given: object) -> str:
        key = f"{name}-{unique}"
        body = {"key": key, "kind": "proportion", "event": "order", "window_days": 14, **given}
        if "events" in given:
            del body["event"]
        created(experiments.post("/v1/metrics", json=body))
        return key

    return create


@pytest.fixture
def experiment(experiments: httpx.Client, unique: str, metric: Callable[..., str]) -> Callable[..., dict]:
    """Create an experiment; it is started unless told otherwise."""

    def create(name: str = "try", *, start: bool = True, **given: object) -> dict:
        key = f"{name}-{unique}"
        metrics = given.pop("metrics", None) or {"primary": metric(f"{name}-orders")}
        body = {"key": key, "hypothesis": "A mail helps.", "arms": ARMS, "metrics": metrics, "seed": key, **given}
        if "method" not in body and "target_list_id" not in body:
            body["method"] = "group_sequential"
        found = created(experiments.post("/v1/experiments", json=body))
        return created(experiments.post(f"/v1/experiments/{key}/start")) if start else found

    return create


@pytest.fixture
def split(experiments: httpx.Client) -> Callable[..., dict]:
    """Load a split that was made elsewhere: customer → arm."""

    def load(key: str, arms: dict[str, str], t0: datetime = T0) -> dict:
        rows = [{"customer_id": customer, "arm": arm, "assigned_at": t0} for customer, arm in arms.items()]
        answer = experiments.post(
            f"/v1/experiments/{key}/assignments?source=external",
            content=ndjson(rows),
            headers={"Content-Type": "application/x-ndjson"},
        )
        return created(answer)

    return load


@pytest.fixture
def respond(feedback: httpx.Client) -> Callable[..., None]:
    """Responses through feedback's door: (customer, days after t0, fields of the event)."""

    def send(*responses: tuple[str, float, Row], t0: datetime = T0) -> None:
        rows = [
            {
                "customer_id": customer,
                "event_id": str(new_id()),
                "kind": "order",
                "occurred_at": t0 + timedelta(days=days),
                **({"value": "10", "currency": "EUR"} if fields.get("kind", "order") == "order" else {}),
                **fields,
            }
            for customer, days, fields in responses
        ]
        answer = feedback.post("/v1/events", content=ndjson(rows), headers={"Content-Type": "application/x-ndjson"})
        assert answer.status_code == 200, answer.text
        assert answer.json()["accepted"] == len(rows), answer.text

    return send


@pytest.fixture
def outcomes_of(owner_engine: sa.Engine) -> Callable[[str], dict[tuple[str, str], float]]:
    """What is published of an experiment: (customer, metric) → value."""
    statement = sa.text("""
        select o.customer_id, o.metric_key, o.value
          from published.experiments_outcomes as o
         where o.experiment_id = cast(:id as uuid)
    """)

    def read(experiment_id: str) -> dict[tuple[str, str], float]:
        with owner_engine.connect() as connection:
            return {(row[0], row[1]): row[2] for row in connection.execute(statement, {"id": experiment_id})}

    return read


@pytest.fixture
def target_list(owner_engine: sa.Engine, unique: str) -> Callable[..., UUID]:
    """A frozen list with these members: (customer, stratum, held out, features)."""
    insert_list = sa.text("""
        insert into audience.target_list (id, name, segment_id, segment_key, segment_version, definition, brand,
               channel, purpose, strata, holdout_share, global_control_share, seed, as_of, known_at, count, held_out,
               digest,
               funnel, built_at, expires_at)
        values (:id, :name, :id, 'everyone', 1, '{}', 'default', 'email', 'marketing', '[]', 0, 0, 'seed', :as_of,
                :as_of, :count, :held_out, :digest, '[]', :as_of, :expires_at)
    """)
    insert_member = sa.text("""
        insert into audience.list_member (customer_id, list_id, rank, stratum, held_out, probability, features)
        values (:customer_id, :list_id, :rank, :stratum, :held_out, 0, cast(:features as jsonb))
    """)

    def build(members: list[tuple[str, str, bool, Row]], name: str = "list") -> UUID:
        list_id = new_id()
        held_out = sum(member[2] for member in members)
        with owner_engine.begin() as connection:
            connection.execute(
                insert_list,
                {
                    "id": list_id,
                    "name": f"{name}-{unique}",
                    "as_of": T0 - timedelta(days=1),
                    "count": len(members) - held_out,
                    "held_out": held_out,
                    "digest": "d" * 64,
                    "expires_at": datetime.now(UTC) + timedelta(days=3),
                },
            )
            rows = [
                {
                    "customer_id": customer,
                    "list_id": list_id,
                    "rank": rank,
                    "stratum": stratum,
                    "held_out": out,
                    "features": json.dumps(features),
                }
                for rank, (customer, stratum, out, features) in enumerate(members, 1)
            ]
            connection.execute(insert_member, rows)
        return list_id

    return build
