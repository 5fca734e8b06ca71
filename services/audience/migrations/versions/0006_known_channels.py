"""Channels and purposes are a known set, in lower case."""

from shared.migrate import run_sql

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    run_sql(__file__, "0006_known_channels.sql")
