"""Constants that fill gaps stand in the form in which values are kept; the next fill brings them to the customers."""

from shared.migrate import run_sql

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    run_sql(__file__, "0008_kept_constants.sql")
