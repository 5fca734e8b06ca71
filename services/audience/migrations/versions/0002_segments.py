"""Segments with their versions, and the stored cut-offs that traits are compared with."""

from shared.migrate import run_sql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run_sql(__file__, "0002_segments.sql")
