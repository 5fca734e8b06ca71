"""Suppressions can be lifted; what was entered, and who lifted it, stays on record."""

from shared.migrate import run_sql

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    run_sql(__file__, "0007_lifted_suppressions.sql")
