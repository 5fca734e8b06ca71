"""How many customers a frozen population has."""

from shared.migrate import run_sql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run_sql(__file__, "0003_population.sql")
