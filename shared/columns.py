"""Columns that every service's tables have."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field


def instant(*, nullable: bool = False) -> Any:
    """A time with its zone."""
    return Field(sa_column=sa.Column(sa.DateTime(timezone=True), nullable=nullable))


def json(*, nullable: bool = False) -> Any:
    """JSON; None is SQL's null."""
    return Field(sa_column=sa.Column(JSONB(none_as_null=True), nullable=nullable))
