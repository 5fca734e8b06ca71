"""Metrics, experiments, assignments, outcomes, looks, and the views that others read."""

from shared.migrate import foundation, run_sql

revision = "0001"
down_revision = None


def upgrade() -> None:
    foundation()
    run_sql(__file__, "0001_spine.sql")
