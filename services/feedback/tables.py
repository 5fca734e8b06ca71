"""Tables as the queries name them. Rows are never made of input: messages validate, these do not.

Events, batches, withdrawals, scores and rejects are written and read as sets, by the SQL of their query modules.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

SCHEMA = {"schema": "feedback"}


def _instant(*, nullable: bool = False) -> Any:
    return Field(sa_column=sa.Column(sa.DateTime(timezone=True), nullable=nullable))


def _json(*, nullable: bool = False) -> Any:
    return Field(sa_column=sa.Column(JSONB(none_as_null=True), nullable=nullable))


class KindRow(SQLModel, table=True):
    """A kind of event that the installation declared."""

    __tablename__ = "kind"
    __table_args__ = SCHEMA

    name: str = Field(primary_key=True)
    rule: dict[str, Any] = _json()
    declared_at: datetime = _instant()


class ModelRunRow(SQLModel, table=True):
    """A run of a model; its scores are in `score`."""

    __tablename__ = "model_run"
    __table_args__ = SCHEMA

    id: UUID = Field(primary_key=True)
    model: str
    state: str
    active: bool
    parameters: dict[str, Any] = _json()
    data_window: dict[str, Any] = _json()
    metrics: dict[str, Any] = _json()
    customers: int = Field(sa_column=sa.Column(sa.BigInteger, nullable=False))
    job_id: UUID | None
    created_at: datetime = _instant()
    published_at: datetime | None = _instant(nullable=True)
    delivered_at: datetime | None = _instant(nullable=True)


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
    definition: dict[str, Any] | None = _json(nullable=True)
    evidence: dict[str, Any] = _json()
    searched_version: int | None
    new_version: int | None
    reason: str | None
    job_id: UUID | None
    created_at: datetime = _instant()
    decided_at: datetime | None = _instant(nullable=True)
