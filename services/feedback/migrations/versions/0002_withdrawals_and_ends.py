"""Withdrawals that name nothing known cover everything; how work on refinements and models can stand and end."""

from shared.migrate import run_sql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run_sql(__file__, "0002_withdrawals_and_ends.sql")
