"""SQL that reduces an experiment's customers to what a refinement needs: feature profiles, then weighted cells."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple, cast
from uuid import UUID

import sqlalchemy as sa

from services.feedback.refine import HALF_SQL, Coding, FeatureProfile
from shared.db import Db
from shared.magnitudes import LARGEST

SAMPLED = 200_000  # customers whose features are profiled; of more, an even sample by hash
PROBABILITIES = [step / 10 for step in range(1, 10)]
KINDS = {"number": "number", "string": "category", "boolean": "boolean"}

COUNT = sa.text("""
    select count(*) as assigned, count(*) filter (where a.t0 <= cast(:mature_until as timestamptz)) as mature
      from published.experiments_assignments as a
     where a.experiment_id = :experiment_id
""")
# What earlier releases took beyond it counts as that much: a rule's comparison says the same of both.
DOUBLE = f"cast(least(greatest(cast({{text}} as numeric), -{LARGEST}), {LARGEST}) as float8)"
FEATURES = """
    with feature as (
      select f.key as name, f.value #>> '{}' as text, jsonb_typeof(f.value) as type
        from published.experiments_assignments as a
       cross join jsonb_each(a.features) as f
       where a.experiment_id = :experiment_id and a.t0 <= cast(:mature_until as timestamptz)
         and mod(hashtextextended(a.customer_id, 0) & 1048575, :every) = 0
         and jsonb_typeof(f.value) in ('number', 'string', 'boolean')
    )
"""
PRESENT = sa.text(f"""
    {FEATURES}
    select f.name, f.type, count(*) * cast(:every as bigint) as present
      from feature as f
     group by f.name, f.type
     order by f.name, present desc
""")  # noqa: S608
QUANTILES = sa.text(f"""
    {FEATURES}
    select f.name,
           percentile_disc(cast(:probabilities as float8[]))
               within group (order by {DOUBLE.format(text="f.text")}) as quantiles
      from feature as f
     where f.type = 'number'
     group by f.name
""")  # noqa: S608
VALUES = sa.text(f"""
    {FEATURES}, counted as (
      select f.name, f.text, count(*) as customers,
             row_number() over (partition by f.name order by count(*) desc, f.text) as place
        from feature as f
       where f.type <> 'number'
       group by f.name, f.text
    )
    select c.name, c.text, c.customers * cast(:every as bigint) as customers
      from counted as c
     where c.place <= 11
     order by c.name, c.place
""")  # noqa: S608
NUMBER = f"""
    case when jsonb_typeof(a.features -> :name_{{n}}) = 'number'
         then width_bucket({DOUBLE.format(text="a.features ->> :name_{n}")}, cast(:cuts_{{n}} as float8[]))
         else -1 end"""
CATEGORY = """
    case when a.features ->> :name_{n} is null then -1
         else coalesce(array_position(cast(:values_{n} as text[]), a.features ->> :name_{n}), 0) end"""
CELLS = """
    select {half} as half, {codes}
           array_position(cast(:arms as text[]), a.arm) - 1 as arm, a.probability, count(*) as customers,
           count(*) filter (where o.value <> 0) as responders, coalesce(sum(v.value), 0) as total,
           coalesce(sum(v.value * v.value), 0) as squares
      from published.experiments_assignments as a
      left join published.experiments_outcomes as o
        on o.customer_id = a.customer_id and o.experiment_id = a.experiment_id
       and o.metric_key = :metric and o.metric_version = :version
     cross join lateral (
            select case when o.value > cast(:cap as float8) then cast(:cap as float8) else o.value end as value) as v
     where a.experiment_id = :experiment_id and a.t0 <= cast(:mature_until as timestamptz)
     group by {groups}
     order by {groups}
"""


class Population(NamedTuple):
    """The mature customers of an experiment: those with a t0 up to `mature_until`; nobody where that is null."""

    experiment_id: UUID
    mature_until: datetime | None


class Counted(NamedTuple):
    """How many customers were assigned, and how many of them are mature."""

    assigned: int
    mature: int


class Measured(NamedTuple):
    """The metric that decides, in the version that the experiment measures. `cap`: the most that a customer counts."""

    key: str
    version: int
    cap: float | None


def count(db: Db, population: Population) -> Counted:
    """How large the population is."""
    row = db.execute(COUNT, population._asdict()).one()
    return Counted(row.assigned, row.mature)


def profiles(db: Db, population: Population, mature: int, attributes: frozenset[str]) -> list[FeatureProfile]:
    """What the frozen features look like, by name; `attributes` tells which of them are attributes, not traits."""
    asked: dict[str, Any] = {**population._asdict(), "every": max(1, -(-mature // SAMPLED))}
    quantiles = {
        row.name: tuple(row.quantiles) for row in db.execute(QUANTILES, {**asked, "probabilities": PROBABILITIES})
    }
    values: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for row in db.execute(VALUES, asked):
        values[row.name].append((row.text, row.customers))
    found: dict[str, FeatureProfile] = {}
    for row in db.execute(PRESENT, asked):
        kind = cast(Any, KINDS[row.type])
        profile = FeatureProfile(
            row.name,
            "attribute" if row.name in attributes else "trait",
            kind,
            row.present,
            quantiles=quantiles[row.name] if kind == "number" else (),
            values=tuple(values[row.name]) if kind != "number" else (),
        )
        found.setdefault(row.name, profile)  # of a feature with values of several types, the most frequent
    return list(found.values())


def cells(
    db: Db, population: Population, measured: Measured, arms: Sequence[str], codings: Sequence[Coding], salt: str
) -> tuple[list[list[float]], list[list[float]]]:
    """The cells of the grow half and of the confirm half, as `refine.cells_of` takes them; `salt` deals the halves."""
    values: dict[str, Any] = {**population._asdict(), "metric": measured.key, "version": measured.version}
    values["cap"] = measured.cap
    values |= {"arms": list(arms), "salt": salt}
    codes = []
    for n, coding in enumerate(codings):
        number = coding.kind == "number"
        codes.append((NUMBER if number else CATEGORY).format(n=n) + f" as code_{n},")
        values[f"name_{n}"] = coding.name
        values[f"cuts_{n}" if number else f"values_{n}"] = list(coding.cuts if number else coding.values)
    groups = ", ".join(str(place) for place in range(1, len(codings) + 4))
    half = HALF_SQL.replace("customer_id", "a.customer_id")
    statement = sa.text(CELLS.format(half=half, codes="".join(codes), groups=groups))
    grow: list[list[float]] = []
    confirm: list[list[float]] = []
    for is_grow, *rest in db.execute(statement, values):
        (grow if is_grow else confirm).append([float(figure) for figure in rest])
    return grow, confirm
