"""What was shown of a segment's version before it was made."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute("alter table audience.segment_version add column evidence jsonb")
