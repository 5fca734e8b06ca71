"""SQL about arms that are given one customer at a time."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import sqlalchemy as sa

from shared.db import Db

APPLYING = sa.text("""
    select x.id, x.key, x.state, x.population, x.target_list_id, x.seed, x.definition ->> 'method' as method,
           (select jsonb_agg(jsonb_build_array(r.key, r.weight, r.payload) order by r.position)
              from experiments.arm as r
             where r.experiment_id = x.id) as arms,
           a.arm, a.probability
      from experiments.experiment as x
      left join experiments.assignment as a on a.experiment_id = x.id and a.customer_id = :customer_id
     where case when cast(:keys as text[]) is null then x.state = 'running' else x.key = any(:keys) end
     order by x.key
""")
STORE = sa.text("""
    insert into experiments.assignment
           (customer_id, experiment_id, arm, t0, probability, stratum, features, source, assigned_at)
    select :customer_id, n.id, n.arm, :now, n.probability, '',
           case when p.profiling is false then '{}'
                else coalesce(p.attributes || experiments.known_traits(p.traits, :now), '{}')
                     || cast(:attributes as jsonb)
           end,
           'online', :now
      from unnest(cast(:ids as uuid[]), cast(:arms as text[]), cast(:probabilities as float8[]))
           as n (id, arm, probability)
      left join published.audience_portraits as p on p.customer_id = :customer_id
        on conflict do nothing
 returning experiment_id
""")
STORED = sa.text("""
    select a.experiment_id, a.arm, a.probability
      from experiments.assignment as a
     where a.customer_id = :customer_id and a.experiment_id = any(:ids)
""")
MEMBERSHIP = sa.text("""
    select m.list_id, m.held_out
      from published.audience_list_members as m
     where m.customer_id = :customer_id and m.list_id = any(:lists)
""")


class Applying(NamedTuple):
    """An experiment as it stands towards one customer. `arms`: key, weight, payload of each, in order."""

    id: UUID
    key: str
    state: str
    population: str | None
    target_list_id: UUID | None
    seed: str
    method: str
    arms: list[tuple[str, float, Any]]
    arm: str | None
    probability: float | None


class NewAssignment(NamedTuple):
    experiment_id: UUID
    arm: str
    probability: float


def applying(db: Db, customer_id: str, keys: Sequence[str] | None) -> list[Applying]:
    """The experiments that are named, or all that run, each with the customer's arm where there is one."""
    rows = db.execute(APPLYING, {"customer_id": customer_id, "keys": None if keys is None else list(keys)})
    return [Applying(*row) for row in rows]


def store(
    db: Db, customer_id: str, new: Sequence[NewAssignment], attributes: str, now: datetime
) -> dict[UUID, NewAssignment]:
    """Store arms, unless the customer got one in the meantime: those that were there first, by experiment."""
    ids = [each.experiment_id for each in new]
    row = {
        "customer_id": customer_id,
        "ids": ids,
        "arms": [each.arm for each in new],
        "probabilities": [each.probability for each in new],
        "attributes": attributes,
        "now": now,
    }
    kept = {stored.experiment_id for stored in db.execute(STORE, row)}
    earlier = [each for each in ids if each not in kept]
    if not earlier:
        return {}
    found = db.execute(STORED, {"customer_id": customer_id, "ids": earlier})
    return {stored.experiment_id: NewAssignment(*stored) for stored in found}


def membership(db: Db, customer_id: str, lists: Sequence[UUID]) -> dict[UUID, bool]:
    """The lists that the customer is on, and whether held out there."""
    rows = db.execute(MEMBERSHIP, {"customer_id": customer_id, "lists": list(lists)})
    return {row.list_id: row.held_out for row in rows}
