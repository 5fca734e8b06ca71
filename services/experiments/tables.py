"""Tables as the queries name them. Rows are never made of input: messages validate, these do not."""

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from shared.columns import instant, json

SCHEMA = {"schema": "experiments"}


class MetricRow(SQLModel, table=True):
    """One version of a metric."""

    __tablename__ = "metric"
    __table_args__ = SCHEMA

    id: UUID = Field(primary_key=True)
    key: str
    version: int
    kind: str
    window_days: int
    currency: str | None
    margin: float | None = Field(sa_column=sa.Column(sa.Numeric(asdecimal=False)))
    value_property: str | None
    definition: dict[str, Any] = json()
    created_at: datetime = instant()


class ExperimentRow(SQLModel, table=True):
    """An experiment: its design as it was given, and where it stands."""

    __tablename__ = "experiment"
    __table_args__ = SCHEMA

    id: UUID = Field(primary_key=True)
    key: str
    state: str
    population: str | None
    target_list_id: UUID | None
    definition: dict[str, Any] = json()
    seed: str
    design_digest: str | None
    created_at: datetime = instant()
    started_at: datetime | None = instant(nullable=True)
    stopped_at: datetime | None = instant(nullable=True)


class LookRow(SQLModel, table=True):
    """A look. `content` is what is shown; `past` is what the next look needs to know of it."""

    __tablename__ = "look"
    __table_args__ = SCHEMA

    experiment_id: UUID = Field(primary_key=True)
    number: int = Field(primary_key=True)
    taken_at: datetime = instant()
    as_of: datetime = instant()
    content: dict[str, Any] = json()
    past: dict[str, Any] = json()
