"""Events, arrivals, withdrawals, rejects, models and refinements, and the views that others read."""

from alembic import op

from shared.migrate import foundation, run_sql

revision = "0001"
down_revision = None


def upgrade() -> None:
    foundation(op)
    run_sql(__file__, "0001_spine.sql")
