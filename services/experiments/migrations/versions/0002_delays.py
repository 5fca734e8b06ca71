"""How late events arrive, kept by day, so that a delivery that comes once a week is remembered until the next."""

from shared.migrate import run_sql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run_sql(__file__, "0002_delays.sql")
