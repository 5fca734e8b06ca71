"""SQL about who has which arm: whole lists, and reading them back."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa

from shared.contracts.assignments import StoredAssignment
from shared.db import Db, copy_rows

MEMBERS = sa.text("""
    select m.customer_id, m.stratum, cast(m.features as text) as features
      from published.audience_list_members as m
     where m.list_id = :list_id and not m.held_out and m.customer_id > :after
     order by m.customer_id
     limit :limit
""")
MEMBERS_WITHOUT_FEATURES = sa.text("""
    select m.customer_id, m.stratum
      from published.audience_list_members as m
     where m.list_id = :list_id and not m.held_out and m.customer_id > :after
     order by m.customer_id
     limit :limit
""")
COPY = """
    copy experiments.assignment
         (customer_id, experiment_id, arm, t0, probability, stratum, features, source, assigned_at)
    from stdin
"""
RUN = sa.text("""
    select r.source, r.t0, r.assigned, r.list_digest, r.design_digest, r.code_version
      from experiments.assignment_run as r
     where r.experiment_id = :id
""")
STORE_RUN = sa.text("""
    insert into experiments.assignment_run
           (experiment_id, source, t0, assigned, list_digest, design_digest, code_version, finished_at)
    values (:id, :source, :t0, :assigned, :list_digest, :design_digest, :code_version, :now)
        on conflict (experiment_id) do update set assigned = excluded.assigned, finished_at = excluded.finished_at
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
PATIENT = sa.text("set local statement_timeout = '30min'")


class Run(NamedTuple):
    """How a whole population was assigned."""

    source: str
    t0: datetime | None
    assigned: int
    list_digest: str | None
    design_digest: str
    code_version: str


class Members(NamedTuple):
    """A page of a list's members, in the order of their ids; `features` is JSON text."""

    customers: list[str]
    strata: list[str]
    features: list[str]


def members(db: Db, list_id: UUID, *, features: bool, size: int = 20_000) -> Iterator[Members]:
    """The members who are not held out, page by page."""
    query, after = (MEMBERS if features else MEMBERS_WITHOUT_FEATURES), ""
    while rows := db.execute(query, {"list_id": list_id, "after": after, "limit": size}).all():
        columns = [list(column) for column in zip(*rows, strict=True)]
        yield Members(columns[0], columns[1], columns[2] if features else [])
        after = columns[0][-1]


def copy(db: Db, rows: Iterable[Sequence[object]]) -> int:
    """Store assignments: customer, experiment, arm, t0, probability, stratum, features (JSON text), source, time."""
    return copy_rows(db, COPY, rows)


def patient(db: Db) -> None:
    """This transaction may take long."""
    db.execute(PATIENT)


def run(db: Db, experiment_id: UUID) -> Run | None:
    """How the population was assigned, once it was."""
    row = db.execute(RUN, {"id": experiment_id}).one_or_none()
    return Run(*row) if row else None


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
