"""SQL about arms that are given to customers as they come."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
import sqlalchemy as sa

from shared.contracts.base import as_id
from shared.db import Db, driver
from shared.errors import Invalid

# psycopg runs the two statements of every call: SQLAlchemy would add more than they take.
APPLYING = """
    select x.id, x.state, x.population, a.customer_id, a.arm, a.probability
      from experiments.experiment as x
      left join experiments.assignment as a on a.experiment_id = x.id and a.customer_id = any(%(customers)s::text[])
     where x.state = 'running' or x.key = any(%(names)s::text[]) or x.id = any(%(ids)s::uuid[])
"""
STORE = """
    insert into experiments.assignment
           (customer_id, experiment_id, arm, t0, probability, stratum, features, source, assigned_at)
    select n.customer_id, n.id, n.arm, %(now)s, n.probability, '',
           case when p.profiling is false then '{}'
                else coalesce(p.attributes || experiments.known_traits(p.traits, %(now)s), '{}')
                     || cast(n.attributes as jsonb)
                     - array(select a.name from published.audience_personal_attributes as a)
           end,
           'online', %(now)s
      from unnest(%(customers)s::text[], %(ids)s::uuid[], %(arms)s::text[], %(probabilities)s::float8[],
                  %(attributes)s::text[]) as n (customer_id, id, arm, probability, attributes)
      left join published.audience_portraits as p on p.customer_id = n.customer_id
     order by n.customer_id, n.id
        on conflict do nothing
 returning customer_id, experiment_id
"""
STORED = sa.text("""
    select a.customer_id, a.experiment_id, a.arm, a.probability
      from experiments.assignment as a
     where a.customer_id = any(:customers) and a.experiment_id = any(:ids)
""")
DESIGNS = sa.text("""
    select x.id, x.key, x.seed, x.target_list_id, x.definition ->> 'method' as method, r.arms, r.weights, r.payloads
      from experiments.experiment as x
      join lateral (select array_agg(r.key order by r.position) as arms, array_agg(r.weight order by r.position)
                             as weights, jsonb_agg(r.payload order by r.position) as payloads
                      from experiments.arm as r
                     where r.experiment_id = x.id) as r on true
     where x.id = any(:ids)
""")
MEMBERSHIP = sa.text("""
    select m.customer_id, m.list_id, m.held_out
      from published.audience_list_members as m
     where m.customer_id = any(:customers) and m.list_id = any(:lists)
""")


class Standing(NamedTuple):
    """What can change of an experiment."""

    state: str
    population: str | None


class Design(NamedTuple):
    """What cannot change of an experiment. `arms`, `weights` and `payloads` are in the order of the arms."""

    id: UUID
    key: str
    seed: str
    target_list_id: UUID | None
    method: str
    arms: list[str]
    weights: list[float]
    payloads: list[Any]


class Place(NamedTuple):
    """A customer in an experiment."""

    customer_id: str
    experiment_id: UUID


class Given(NamedTuple):
    """An arm, and how probable it was."""

    arm: str
    probability: float


class NewAssignment(NamedTuple):
    """An arm that is to be stored, with what the caller knew of the customer, as JSON."""

    arm: Given
    attributes: str


def applying(db: Db, customers: Sequence[str], names: Sequence[str]) -> tuple[dict[UUID, Standing], dict[Place, Given]]:
    """All experiments that run or are named, by key or id, and the arms that the customers have in them."""
    ids = [each for name in names if (each := as_id(name)) is not None]
    standing: dict[UUID, Standing] = {}
    stored: dict[Place, Given] = {}
    for number, state, population, customer, arm, probability in driver(db).execute(
        APPLYING, {"customers": list(customers), "names": list(names), "ids": ids}
    ):
        standing[number] = Standing(state, population)  # type: ignore[index, arg-type]
        if customer is not None:
            stored[Place(customer, number)] = Given(arm, probability)  # type: ignore[arg-type]
    return standing, stored


def designs(db: Db, ids: Sequence[UUID]) -> list[Design]:
    return [Design(*row) for row in db.execute(DESIGNS, {"ids": list(ids)})]


def store(db: Db, new: Mapping[Place, NewAssignment], now: datetime) -> dict[Place, Given]:
    """Store arms, except where the customer got one in the meantime: those that were there first.

    Raises `Invalid` where Postgres cannot hold one of them.
    """
    row = {
        "customers": [place.customer_id for place in new],
        "ids": [place.experiment_id for place in new],
        "arms": [each.arm.arm for each in new.values()],
        "probabilities": [each.arm.probability for each in new.values()],
        "attributes": [each.attributes for each in new.values()],
        "now": now,
    }
    try:
        kept = {Place(*found) for found in driver(db).execute(STORE, row)}  # type: ignore[arg-type]
    except psycopg.DataError as error:
        raise Invalid("Postgres cannot hold these attributes.") from error
    earlier = new.keys() - kept
    if not earlier:
        return {}
    # A later statement, so that it sees what others committed while the insert waited for them.
    named = {"customers": [place.customer_id for place in earlier], "ids": [place.experiment_id for place in earlier]}
    found = {Place(row.customer_id, row.experiment_id): row for row in db.execute(STORED, named)}
    return {place: Given(found[place].arm, found[place].probability) for place in earlier}


def membership(db: Db, customers: Sequence[str], lists: Sequence[UUID]) -> dict[tuple[str, UUID], bool]:
    """Who is on which of the lists, and whether held out there."""
    rows = db.execute(MEMBERSHIP, {"customers": list(customers), "lists": list(lists)})
    return {(row.customer_id, row.list_id): row.held_out for row in rows}
