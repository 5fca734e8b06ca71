"""Portraits for others without personal attributes, and the names of these."""

from shared.migrate import run_sql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run_sql(__file__, "0003_impersonal_portraits.sql")
