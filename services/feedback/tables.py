"""Tables as the queries name them. Rows are never made of input: messages validate, these do not.

Events, batches, withdrawals, scores and rejects are written and read as sets, by the SQL of their query modules.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from shared.columns import instant, json

SCHEMA = {"schema": "feedback"}


class KindRow(SQLModel, table=True):
    """A kind of event that the installation declared."""

    __tablename__ = "kind"
    __table_args__ = SCHEMA

    name: str = Field(primary_key=True)
    rule: dict[str, Any] = json()
    declared_at: datetime = instant()


class ModelRunRow(SQLModel, table=True):
    """A run of a model; its scores are in `score`."""

    __tablename__ = "model_run"
    __table_args__ = SCHEMA

    id: UUID = Field(primary_key=True)
    model: str
    state: str
    active: bool
    parameters: dict[str, Any] = json()
    data_window: dict[str, Any] = json()
    metrics: dict[str, Any] = json()
    customers: int = Field(sa_column=sa.Column(sa.BigInteger, nullable=False))
    job_id: UUID | None
    created_at: datetime = instant()
    published_at: datetime | None = instant(nullable=True)
    delivered_at: datetime | None = instant(nullable=True)


class RefinementRow(SQLModel, table=True):
    """A search for a better segment, and an entry of its experiment's ledger where it has a `proposal` number."""

    __tablename__ = "refinement"
    __table_args__ = SCHEMA

    id: UUID = Field(primary_key=True)
    experiment: str
    segment_id: str
    metric: str
    state: str
    verdict: str
    proposal: int | None
    alpha: float | None
    definition: dict[str, Any] | None = json(nullable=True)
    evidence: dict[str, Any] = json()
    searched_version: int | None
    new_version: int | None
    reason: str | None
    job_id: UUID | None
    created_at: datetime = instant()
    decided_at: datetime | None = instant(nullable=True)
