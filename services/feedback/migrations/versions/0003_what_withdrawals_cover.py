"""What a withdrawal covers is computed by its table, so that it is heard whatever release wrote it."""

from shared.migrate import run_sql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run_sql(__file__, "0003_what_withdrawals_cover.sql")
