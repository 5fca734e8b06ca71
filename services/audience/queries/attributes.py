"""The attribute catalogue, and what its gaps are filled with."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.exc import DataError, SQLAlchemyError
from sqlmodel import col, select

from services.audience.queries.parameters import with_json
from services.audience.tables import AttributeRow
from shared.contracts.audience import AttributeDefinition, AttributeDetail, NewAttribute, Scalar
from shared.db import Db
from shared.errors import NotFound
from shared.pages import PageRequest

AS_IT_IS = {"populate_existing": True}
"""Rows are changed by statements the session does not see: read them again."""

UPSERT = with_json(
    sa.text("""
    insert into audience.attribute as a
           (name, type, unit, description, allowed, personal, supplement, fill_value, created_at, updated_at)
    values (:name, :type, :unit, :description, :allowed, :personal, :supplement, :fill_value, :now, :now)
        on conflict (name) do update
       set type = excluded.type, unit = excluded.unit, description = excluded.description, allowed = excluded.allowed,
           personal = excluded.personal, supplement = excluded.supplement,
           fill_value = case when a.supplement is not distinct from excluded.supplement then a.fill_value
                             else excluded.fill_value end,
           updated_at = excluded.updated_at
"""),
    "allowed",
    "supplement",
    "fill_value",
)
SOMEONE = sa.text("""
    select c.customer_id
      from audience.customer as c
     where jsonb_exists(c.attributes, :name) or jsonb_exists(c.filled, :name)
     limit 1
""")
USAGE = sa.text("""
    select count(*) filter (where jsonb_exists(c.attributes, :name)) as told,
           count(*) filter (where jsonb_exists(c.filled, :name)) as filled
      from audience.customer as c
""")
COMPLETENESS = sa.text("""
    select count(*) as customers, count(*) filter (where jsonb_exists(c.attributes, :name)) as known
      from audience.customer as c
     where c.erased_at is null
""")

MEAN = sa.text("""
    select to_jsonb(cast(avg(cast(c.attributes ->> :name as numeric)) as double precision)) as value
      from audience.customer as c
     where jsonb_exists(c.attributes, :name) and c.erased_at is null
""")
MEDIAN = sa.text("""
    select to_jsonb(percentile_disc(0.5) within group (order by cast(c.attributes ->> :name as numeric))) as value
      from audience.customer as c
     where jsonb_exists(c.attributes, :name) and c.erased_at is null
""")
MODE = sa.text("""
    select c.attributes -> :name as value
      from audience.customer as c
     where jsonb_exists(c.attributes, :name) and c.erased_at is null
     group by c.attributes -> :name
     order by count(*) desc,
              case when jsonb_typeof(c.attributes -> :name) = 'number'
                   then cast(c.attributes -> :name as numeric) end,
              (c.attributes -> :name) #>> '{}' collate "C"
     limit 1
""")
STATISTICS = {"mean": MEAN, "median": MEDIAN, "mode": MODE}
SET_FILL_VALUE = with_json(
    sa.text("""
    update audience.attribute as a
       set fill_value = :value
     where a.name = :name and a.supplement ->> 'method' = :method and a.fill_value is distinct from :value
"""),
    "value",
)


class NoStatistic(Exception):
    """Values are there, but what was asked of them is no number that Postgres can hold."""


class NotFilled(Exception):
    """Gaps could not be filled at this time: Postgres would not, or no connection was free."""


@contextmanager
def filling() -> Iterator[None]:
    """Raises `NotFilled` in place of whatever Postgres, or the pool of connections to it, raises in the block."""
    try:
        yield
    except SQLAlchemyError as error:
        raise NotFilled(type(getattr(error, "orig", error)).__name__) from error


def catalogue(db: Db, *, held: bool = False) -> dict[str, AttributeDefinition]:
    """All attributes by name; `held`, they cannot change before the transaction ends.

    Whoever also locks customers holds the catalogue first, and everybody takes attributes in the order of their names.
    """
    query = select(AttributeRow).order_by(col(AttributeRow.name))
    query = query.with_for_update(read=True) if held else query
    return {row.name: _message(row) for row in db.exec(query.execution_options(**AS_IT_IS))}


def page(db: Db, wanted: PageRequest) -> list[AttributeDefinition]:
    """By name, one more than the page holds."""
    query = select(AttributeRow).order_by(col(AttributeRow.name)).limit(wanted.limit + 1)
    if wanted.after:
        query = query.where(AttributeRow.name > wanted.after[0])
    return [_message(row) for row in db.exec(query)]


def detail(db: Db, name: str) -> AttributeDetail:
    """Raises `NotFound`."""
    query = select(AttributeRow).where(AttributeRow.name == name)
    row = db.exec(query.execution_options(**AS_IT_IS)).one_or_none()
    if row is None:
        raise NotFound("There is no such attribute.")
    counted = db.execute(COMPLETENESS, {"name": name}).one()
    completeness = counted.known / counted.customers if counted.customers else None
    return AttributeDetail.model_validate({**row.model_dump(), **counted._mapping, "completeness": completeness})


def lock(db: Db, name: str) -> AttributeDefinition | None:
    """An attribute that nobody else can change, or load values for, until the transaction ends."""
    row = db.exec(select(AttributeRow).where(AttributeRow.name == name).with_for_update()).one_or_none()
    return None if row is None else _message(row)


def _message(row: AttributeRow) -> AttributeDefinition:
    return AttributeDefinition.model_validate(row.model_dump())


def someone_with(db: Db, name: str) -> str | None:
    """A customer who has a value of the attribute, told or filled in."""
    found: str | None = db.execute(SOMEONE, {"name": name}).scalar()
    return found


def usage(db: Db, name: str) -> tuple[int, int]:
    """How many customers were told a value of the attribute, and how many have one that is filled in."""
    told, filled = db.execute(USAGE, {"name": name}).one()
    return told, filled


def upsert(db: Db, name: str, definition: NewAttribute, now: datetime) -> None:
    row = definition.model_dump(mode="json")
    supplement = definition.supplement
    constant = supplement.value if supplement is not None else None
    db.execute(UPSERT, {"name": name, **row, "fill_value": constant, "now": now})


def statistic(db: Db, name: str, method: str) -> Scalar | None:
    """The mean, median or mode of an attribute over all customers; None where no value is known.

    Raises `NoStatistic`; the transaction goes on.
    """
    try:
        with db.begin_nested():
            found: Scalar | None = db.execute(STATISTICS[method], {"name": name}).scalar()
    except DataError as error:
        raise NoStatistic(f"The {method} of {name} cannot be computed.") from error
    return found


def set_fill_value(db: Db, name: str, method: str, value: Scalar | None) -> None:
    """Store what `method` found, unless the attribute's gaps are filled in another way by now."""
    db.execute(SET_FILL_VALUE, {"name": name, "method": method, "value": value})
