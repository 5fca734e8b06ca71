"""Tables as the queries name them. Rows are never made of input: messages validate, these do not.

Customers, contact points, consents and list members are written and read as sets, by the SQL of their query modules.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from shared.columns import instant, json

SCHEMA = {"schema": "audience"}


def _large() -> Any:
    return Field(sa_column=sa.Column(sa.BigInteger, nullable=False))


class AttributeRow(SQLModel, table=True):
    """What values an attribute may take, and what its gaps are filled with."""

    __tablename__ = "attribute"
    __table_args__ = SCHEMA

    name: str = Field(primary_key=True)
    type: str
    unit: str | None
    description: str
    allowed: Any = json(nullable=True)
    personal: bool
    supplement: Any = json(nullable=True)
    fill_value: Any = json(nullable=True)
    created_at: datetime = instant()
    updated_at: datetime = instant()


class CampaignRow(SQLModel, table=True):
    """What lists, experiments and events refer to."""

    __tablename__ = "campaign"
    __table_args__ = SCHEMA

    id: UUID = Field(primary_key=True)
    key: str
    name: str
    brand: str
    channel: str
    purpose: str
    budget: Decimal | None = Field(sa_column=sa.Column(sa.Numeric, nullable=True))
    currency: str | None
    send_at: datetime | None = instant(nullable=True)
    owner: str | None
    created_at: datetime = instant()


class SuppressionRow(SQLModel, table=True):
    """Do not contact; channel `*` is every one."""

    __tablename__ = "suppression"
    __table_args__ = SCHEMA

    customer_id: str = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    channel: str
    reason: str
    ends_at: datetime | None = instant(nullable=True)
    created_at: datetime = instant()
    lifted_at: datetime | None = instant(nullable=True)
    lifted_by: str | None
    lift_reason: str | None


class TargetListRow(SQLModel, table=True):
    """A frozen list; its members are in `list_member`."""

    __tablename__ = "target_list"
    __table_args__ = SCHEMA

    id: UUID = Field(primary_key=True)
    name: str
    campaign: str | None
    segment_id: UUID
    segment_key: str
    segment_version: int
    definition: Any = json()
    brand: str
    channel: str
    purpose: str
    rank_by: Any = json(nullable=True)
    member_limit: int | None = Field(sa_column=sa.Column(sa.BigInteger, nullable=True))
    strata: Any = json()
    holdout_share: float
    max_contacts: Any = json(nullable=True)
    global_control_share: float
    seed: str
    as_of: datetime = instant()
    known_at: datetime | None = instant(nullable=True)
    count: int = _large()
    held_out: int = _large()
    digest: str | None
    funnel: Any = json(nullable=True)
    built_at: datetime = instant()
    released_at: datetime | None = instant(nullable=True)
    expires_at: datetime = instant()


class ImportRow(SQLModel, table=True):
    """A bulk load; the rows it refused are in `import_reject`."""

    __tablename__ = "import"
    __table_args__ = SCHEMA

    id: UUID = Field(primary_key=True)
    kind: str
    format: str
    state: str
    rows: int = _large()
    accepted: int = _large()
    customers: int = _large()
    new_customers: int = _large()
    reasons: Any = json()
    supplemented: Any = json()
    problem: str | None
    started_at: datetime = instant()
    finished_at: datetime | None = instant(nullable=True)
