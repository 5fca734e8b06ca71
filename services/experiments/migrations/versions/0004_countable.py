"""Outcomes as large as a property once could say are found, to be counted again, or brought down."""

from shared.migrate import run_sql

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    run_sql(__file__, "0004_countable.sql")
