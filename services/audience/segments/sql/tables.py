"""The tables and published views that segments read, with the columns they use."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

_TIME = sa.DateTime(timezone=True)

customer = sa.table(
    "customer",
    sa.column("customer_id", sa.Text),
    sa.column("attributes", JSONB),
    sa.column("filled", JSONB),
    sa.column("traits", JSONB),
    sa.column("profiling", sa.Boolean),
    sa.column("erased_at", _TIME),
    schema="audience",
)
event = sa.table(
    "feedback_events",
    *(sa.column(name, sa.Text) for name in ("customer_id", "event_id", "kind", "category", "currency", "campaign")),
    sa.column("occurred_at", _TIME),
    sa.column("value", sa.Numeric),
    sa.column("properties", JSONB),
    schema="published",
)
