"""SQL about who has which arm: whole lists, and reading them back."""

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa

from shared.contracts.assignments import StoredAssignment
from shared.db import Db

MEMBERS = sa.text("""
    select m.customer_id, m.stratum
      from published.audience_list_members as m
     where m.list_id = :list_id and not m.held_out and m.customer_id > :after
     order by m.customer_id
     limit :limit
""")
# :arms holds one byte for each member of the page, so that neither ids nor features travel back.
WRITE = sa.text("""
    insert into experiments.assignment
           (customer_id, experiment_id, arm, t0, probability, stratum, features, source, assigned_at)
    select d.customer_id, :id, (cast(:keys as text[]))[1 + d.arm], :t0, (cast(:weights as float8[]))[1 + d.arm],
           d.stratum, d.features, 'list', :now
      from (select p.customer_id, p.stratum, p.features,
                   get_byte(cast(:arms as bytea),
                            cast(row_number() over (order by p.customer_id) - 1 as integer)) as arm
              from (select m.customer_id, m.stratum, m.features
                      from published.audience_list_members as m
                     where m.list_id = :list_id and not m.held_out and m.customer_id > :after
                     order by m.customer_id
                     limit :limit) as p) as d
""")
RUN = sa.text("""
    select r.source, r.t0, r.assigned, r.list_digest, r.design_digest, r.code_version, r.population
      from experiments.assignment_run as r
     where r.experiment_id = :id
""")
STORE_RUN = sa.text("""
    insert into experiments.assignment_run
           (experiment_id, source, t0, assigned, list_digest, design_digest, code_version, population, finished_at)
    values (:id, :source, :t0, :assigned, :list_digest, :design_digest, :code_version, :population, :now)
        on conflict (experiment_id) do update
       set assigned = excluded.assigned, population = coalesce(assignment_run.population, excluded.population),
           finished_at = excluded.finished_at
""")
POPULATION = sa.text("""
    select greatest(r.population, r.assigned) as size from experiments.assignment_run as r where r.experiment_id = :id
""")
ON_LIST = sa.text("""
    select count(*) from published.audience_list_members as m where m.list_id = :list_id and not m.held_out
""")
BY_ARM = sa.text("""
    select a.arm, count(*) as customers from experiments.assignment as a where a.experiment_id = :id group by a.arm
""")
PAGE = sa.text("""
    select a.customer_id, a.arm, r.control, r.contact, a.t0, a.probability, a.stratum, a.source, a.assigned_at
      from experiments.assignment as a
      join experiments.arm as r on r.experiment_id = a.experiment_id and r.key = a.arm
     where a.experiment_id = :id and a.customer_id > :after and (not :contact or r.contact)
     order by a.customer_id
     limit :limit
""")


class Run(NamedTuple):
    """How a whole population was assigned. `population`: how many it has, where a split made elsewhere may have brought
    only some so far; null where they are those assigned.
    """

    source: str
    t0: datetime | None
    assigned: int
    list_digest: str | None
    design_digest: str
    code_version: str
    population: int | None = None


class Members(NamedTuple):
    """A page of a list's members, in the order of their ids; `after` is the id before them."""

    after: str
    customers: list[str]
    strata: list[str]


class Writing(NamedTuple):
    """What all rows of a list's run share. `keys` and `weights` are the arms', in their order."""

    experiment_id: UUID
    list_id: UUID
    keys: list[str]
    weights: list[float]
    t0: datetime
    now: datetime


def members(db: Db, list_id: UUID, *, size: int = 20_000) -> Iterator[Members]:
    """The members who are not held out, page by page."""
    after = ""
    while rows := db.execute(MEMBERS, {"list_id": list_id, "after": after, "limit": size}).all():
        customers, strata = (list(column) for column in zip(*rows, strict=True))
        yield Members(after, customers, strata)
        after = customers[-1]


def write(db: Db, run: Writing, after: str, arms: bytes) -> int:
    """Store the arms of the members that follow `after`, one byte for each; how many were stored."""
    row = {
        "id": run.experiment_id,
        "list_id": run.list_id,
        "keys": run.keys,
        "weights": run.weights,
        "t0": run.t0,
        "now": run.now,
        "after": after,
        "arms": arms,
        "limit": len(arms),
    }
    return int(db.execute(WRITE, row).rowcount)  # type: ignore[attr-defined]


def run(db: Db, experiment_id: UUID) -> Run | None:
    """How the population was assigned, once it was."""
    row = db.execute(RUN, {"id": experiment_id}).one_or_none()
    return Run(*row) if row else None


def population(db: Db, experiment_id: UUID) -> int | None:
    """How many customers a frozen population has; None while none was assigned, and where customers come by online."""
    size: int | None = db.execute(POPULATION, {"id": experiment_id}).scalar_one_or_none()
    return size


def on_list(db: Db, list_id: UUID) -> int:
    """How many of a list are not held out."""
    return int(db.execute(ON_LIST, {"list_id": list_id}).scalar_one())


def store_run(db: Db, experiment_id: UUID, found: Run, now: datetime) -> None:
    """Store the run with its rows, in their transaction; a later external load raises the count."""
    db.execute(STORE_RUN, {"id": experiment_id, "now": now, **found._asdict()})


def by_arm(db: Db, experiment_id: UUID) -> dict[str, int]:
    """Customers by arm, as they are stored now."""
    return {row.arm: row.customers for row in db.execute(BY_ARM, {"id": experiment_id})}


def page(db: Db, experiment_id: UUID, after: str, *, contact: bool, limit: int = 1000) -> list[StoredAssignment]:
    """Assignments after a customer, by customer; with `contact` only of arms that are contacted."""
    rows = db.execute(PAGE, {"id": experiment_id, "after": after, "contact": contact, "limit": limit})
    return [StoredAssignment.model_validate(row._mapping) for row in rows]
