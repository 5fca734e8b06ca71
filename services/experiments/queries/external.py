"""SQL about splits that were made elsewhere: rows are staged, judged as a set, and taken in one transaction."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa

from shared.contracts.assignments import ExternalAssignment, RefusedRow
from shared.db import Db, copy_rows

COPY = "copy experiments.external_row (load_id, line, customer_id, arm, t0, loaded_at) from stdin"
JUDGE = sa.text("""
    create temporary table judged on commit drop as
    with declared as (
        select e.line, e.customer_id, e.arm, e.t0, r.weight
          from experiments.external_row as e
          left join experiments.arm as r on r.experiment_id = cast(:id as uuid) and r.key = e.arm
         where e.load_id = cast(:load_id as uuid)
    ), turns as (
        select d.line, d.customer_id, d.arm, d.t0, d.weight,
               row_number() over by_line as turn, first_value(d.arm) over by_line as first_arm
          from declared as d
        window by_line as (partition by d.customer_id, d.weight is null order by d.line)
    )
    select t.line, t.customer_id, t.arm, t.t0, t.weight,
           case when t.weight is null then 'undeclared'
                when coalesce(a.arm, t.first_arm) <> t.arm then 'other arm'
                when cast(:list_id as uuid) is not null and coalesce(m.held_out, true) then 'outside'
                when :closed and a.customer_id is null then 'outside'
                when a.customer_id is not null or t.turn > 1 then 'already'
                else 'new'
           end as verdict
      from turns as t
      left join experiments.assignment as a on a.experiment_id = cast(:id as uuid) and a.customer_id = t.customer_id
      left join published.audience_list_members as m
        on m.list_id = cast(:list_id as uuid) and m.customer_id = t.customer_id
""")
COUNTS = sa.text("select j.verdict, count(*) as found from pg_temp.judged as j group by j.verdict")
REFUSED = sa.text("""
    select j.line, j.verdict
      from pg_temp.judged as j
     where j.verdict not in ('new', 'already')
     order by j.line
     limit :limit
""")
TAKE = sa.text("""
    insert into experiments.assignment
           (customer_id, experiment_id, arm, t0, probability, stratum, features, source, assigned_at)
    select j.customer_id, :id, j.arm, j.t0, j.weight, '',
           case when p.profiling then p.attributes || experiments.known_traits(p.traits, j.t0) else '{}' end,
           'external', j.t0
      from pg_temp.judged as j
      left join published.audience_portraits as p on p.customer_id = j.customer_id
     where j.verdict = 'new'
     order by j.customer_id
""")
FORGET = sa.text("delete from experiments.external_row as e where e.load_id = :load_id or e.loaded_at < :before")

POINTERS = {
    "undeclared": ("/arm", "the experiment has no such arm"),
    "other arm": ("/arm", "this customer has another arm already"),
    "outside": ("/customer_id", "not in the frozen population"),
}


class Judged(NamedTuple):
    """What became of the rows of a load."""

    new: int
    already: int
    refused: int
    rejects: list[RefusedRow]


def stage(db: Db, load_id: UUID, rows: Iterable[tuple[int, ExternalAssignment]], now: datetime) -> None:
    """Keep rows of an upload until all of it is there."""
    copy_rows(db, COPY, ((load_id, line, row.customer_id, row.arm, row.assigned_at, now) for line, row in rows))


def take(db: Db, load_id: UUID, experiment_id: UUID, list_id: UUID | None, *, closed: bool, limit: int = 100) -> Judged:
    """Judge the staged rows and store the new ones. `closed`: the population is frozen, nobody new is let in."""
    where = {"load_id": load_id, "id": experiment_id, "list_id": list_id, "closed": closed}
    db.execute(JUDGE, where)
    counts = {row.verdict: row.found for row in db.execute(COUNTS)}
    db.execute(TAKE, {"id": experiment_id})
    new, already = counts.pop("new", 0), counts.pop("already", 0)
    rejects = [
        RefusedRow(line=row.line, pointer=POINTERS[row.verdict][0], detail=POINTERS[row.verdict][1])
        for row in db.execute(REFUSED, {"limit": limit})
    ]
    return Judged(new, already, sum(counts.values()), rejects)


def forget(db: Db, load_id: UUID | None, before: datetime) -> None:
    """Drop the staged rows of a load, and those of uploads that broke off long ago."""
    db.execute(FORGET, {"load_id": load_id, "before": before})
