"""What audience's tests share: a catalogue, loading, and a look into the tables."""

import json
from collections.abc import Callable, Iterable

import httpx
import pytest
import sqlalchemy as sa

from tests.audience.targeting import person, segment_of

CATALOGUE = {
    "age": {"type": "number", "unit": "years", "allowed": {"minimum": 0, "maximum": 120}},
    "city": {"type": "text"},
    "crowd": {"type": "text"},
    "tier": {"type": "text", "allowed": ["gold", "silver"]},
    "newsletter": {"type": "boolean"},
    "born": {"type": "date"},
    "first_seen": {"type": "instant"},
    "surname": {"type": "text", "personal": True},
}

Load = Callable[..., dict]


@pytest.fixture
def catalogue(audience: httpx.Client) -> dict:
    """The attributes that these tests use, declared, also where a test before this one emptied all tables."""
    if audience.get(f"/v1/attributes/{[*CATALOGUE][-1]}").status_code == 404:
        for name, definition in CATALOGUE.items():
            answer = audience.put(f"/v1/attributes/{name}", json=definition)
            assert answer.status_code == 200, answer.text
    return CATALOGUE


@pytest.fixture
def load(audience: httpx.Client, catalogue: dict) -> Load:
    """Load rows as NDJSON; gives the quality report."""

    def run(rows: Iterable[object]) -> dict:
        content = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)
        answer = audience.post("/v1/customers", content=content, headers={"Content-Type": "application/x-ndjson"})
        assert answer.status_code == 200, answer.text
        return answer.json()

    return run


@pytest.fixture
def everything_stored(owner_engine: sa.Engine) -> Callable[[], str]:
    """All rows of all tables in audience's schema, as one text."""

    def read() -> str:
        with owner_engine.connect() as connection:
            tables = connection.execute(
                sa.text("select quote_ident(t.tablename) from pg_tables as t where t.schemaname = 'audience'")
            ).scalars()
            return "\n".join(
                str(
                    connection.exec_driver_sql(
                        f"select coalesce(json_agg(t), '[]')::text from audience.{table} as t"
                    ).scalar_one()
                )
                for table in tables
            )

    return read


@pytest.fixture
def crowd(audience, load, unique):
    """Twenty customers who can be contacted, of ages 20 to 39, in a segment of their own; gives its key."""
    load([person(f"{unique}-{i:02}", age=20 + i, city="Lyon" if i % 2 else "Porto") for i in range(20)])
    definition = {"attribute": "city", "is": "in", "value": ["Lyon", "Porto"]}
    return segment_of(audience, unique, definition)
