"""Reading an experiment's results, from accumulated outcomes and counted anew, against aggregates written by hand.

The product is all that the service does for an answer: moments by arm, stratum and day, effects with their intervals,
health, money. The floor is one statement for n, mean and variance of every metric by arm, over the same tables and
indexes; both must come to the same figures.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from math import isclose
from typing import Any, NamedTuple
from uuid import UUID

import sqlalchemy as sa

from services.experiments.actions import outcomes
from services.experiments.actions.results import results
from shared.contracts.results import Results
from shared.db import connect, new_id, read_only, transaction
from shared.settings import Settings
from tests.bench.experiment import COST, CURRENCY, MARGIN, METRICS, WINDOW, started
from tests.bench.installation import installation
from tests.bench.row import Row, compare_times

ASSIGNED = 1_000_000
KEY = "blast"
Figures = dict[tuple[str, str], tuple[float, ...]]  # (n, mean, variance) by metric and arm

# One in ten has an order within the window, one in twenty a second one; everybody has looked, half of them too early.
ASSIGN = """
    insert into experiments.assignment
           (customer_id, experiment_id, arm, t0, probability, stratum, features, source, assigned_at)
    select 'customer-' || lpad(cast(n as text), 8, '0'), :id, r.key, :t0, r.weight, 'stratum-' || n % 3,
           jsonb_build_object('age', 18 + n * 7 % 60, 'recency', n * 31 % 365), 'list', :t0
      from generate_series(1, :assigned) as n
      join experiments.arm as r
        on r.experiment_id = :id
       and r.position = (array[0, 1, 1, 2, 2])[1 + (hashint4(n) & 1048575) % 5]
"""
BATCH = "insert into feedback.batch (batch_id, received_at, events) values (1, :received, :events)"
HAPPENED = """
    insert into feedback.event
           (customer_id, event_id, kind, occurred_at, received_at, value, currency, properties, batch_id)
    select 'customer-' || lpad(cast(1 + (n - 1) % :assigned as text), 8, '0'), 'event-' || n,
           case when n <= :assigned then 'view' else 'order' end,
           :t0 + interval '1 second' * (n * 7919 % 1209600 - case when n <= :assigned then 604800 else 0 end),
           :received, round(cast(1 + n * 7907 % 20000 as numeric) / 100, 2), :currency, '{}', 1
      from generate_series(cast(1 as bigint), :assigned * 2) as n
     where n <= :assigned or hashint8(n) & 1023 < 102 or hashint8(n) & 1023 < 154 and n % 20 = 0
"""

FROM_OUTCOMES = f"""
    select r.metric, s.arm, s.customers as n, (s.customers * r.shift + coalesce(o.total, 0)) / s.customers as mean,
           (coalesce(o.squares, 0) - coalesce(o.total, 0) ^ 2 / s.customers) / (s.customers - 1) as variance
      from (select c.arm, cast(sum(c.customers) as float8) as customers
              from experiments.cohort as c
             where c.experiment_id = :id
             group by c.arm) as s
     cross join lateral (
            select m.id, m.key as metric,
                   case when m.kind = 'profit' and s.arm = 'mail' then -{COST} else 0 end as shift
              from experiments.measured as d
              join experiments.metric as m on m.id = d.metric_id
             where d.experiment_id = :id) as r
      left join (select o.metric_id, o.arm, sum(o.value) as total, sum(o.value * o.value) as squares
                   from experiments.outcome as o
                  where o.experiment_id = :id
                  group by o.metric_id, o.arm) as o on o.metric_id = r.id and o.arm = s.arm
"""
FROM_EVENTS = f"""
    select v.metric, c.arm, c.n, v.mean, v.variance
      from (select a.arm, count(*) as n,
                   avg(cast(e.customer_id is not null as integer)) as ordered,
                   var_samp(cast(e.customer_id is not null as integer)) as ordered_variance,
                   avg(coalesce(e.spent, 0)) as spent, var_samp(coalesce(e.spent, 0)) as spent_variance
              from experiments.assignment as a
              left join (select s.customer_id, cast(sum(e.value) as float8) as spent
                           from experiments.assignment as s
                           join published.feedback_events as e on e.customer_id = s.customer_id
                          where s.experiment_id = :id and e.kind = 'order' and e.currency = '{CURRENCY}'
                            and e.occurred_at >= s.t0 and e.occurred_at < s.t0 + interval '{WINDOW.days} days'
                          group by s.customer_id) as e on e.customer_id = a.customer_id
             where a.experiment_id = :id
             group by a.arm) as c
     cross join lateral (
            values ('orders', c.ordered, c.ordered_variance), ('revenue', c.spent, c.spent_variance),
                   ('profit', c.spent * {MARGIN} - case when c.arm = 'mail' then {COST} else 0 end,
                    c.spent_variance * {MARGIN} ^ 2)) as v (metric, mean, variance)
"""


class Shape(NamedTuple):
    """One way to read results, and SQL for its moments."""

    subject: str
    full: bool
    floor_name: str
    by_hand: str
    note: str


SHAPES = (
    Shape(
        "results from outcomes",
        False,
        "SQL by hand over outcomes, same moments",
        FROM_OUTCOMES,
        "also third moments, by stratum and day; effects, health, money",
    ),
    Shape(
        "results counted in full",
        True,
        "SQL by hand over raw events, same moments",
        FROM_EVENTS,
        "counts anew twice: for the figures, and to compare every customer's outcome with what was accumulated",
    ),
)


def run(size: float) -> list[Row]:
    """Measure both ways; `size` 1 is a million assignments."""
    assigned = max(int(ASSIGNED * size), 1000)
    with installation() as settings:
        engine = connect(settings.database_of("experiments"), name="bench")
        try:
            experiment_id = fill(settings, engine, assigned)
            return [measure(engine, shape, experiment_id, assigned) for shape in SHAPES]
        finally:
            engine.dispose()


def fill(settings: Settings, engine: sa.Engine, assigned: int) -> UUID:
    """An experiment whose windows have closed, with all that arrived, counted by the worker's own tick."""
    owner, now = connect(settings.database_url, name="bench"), datetime.now(UTC)
    with transaction(engine) as db:
        experiment = started(db, KEY, new_id())
    given = {
        "id": experiment.id,
        "t0": now - 3 * WINDOW,
        "received": now - WINDOW + timedelta(days=1),
        "assigned": assigned,
        "events": 2 * assigned,
        "currency": CURRENCY,
    }
    with owner.begin() as connection:
        for statement in (ASSIGN, BATCH, HAPPENED):
            connection.execute(sa.text(statement), given)
    with owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("vacuum analyze")
        outcomes.tick(partial(transaction, engine))
        connection.exec_driver_sql("vacuum analyze")
    owner.dispose()
    return experiment.id


def measure(engine: sa.Engine, shape: Shape, experiment_id: UUID, assigned: int) -> Row:
    """One way. Raises `RuntimeError` when the product and the hand come to different figures."""
    by_hand = sa.text(shape.by_hand)

    def product() -> Results:
        with read_only(engine) as db:
            return results(db, KEY, full=shape.full)

    def floor() -> list[Any]:
        with read_only(engine) as db:
            return list(db.execute(by_hand, {"id": experiment_id}))

    responders = _compared(product, floor)
    note = f"{assigned:,} customers, {responders:,} with an order, {len(METRICS)} metrics; {shape.note}"
    return compare_times(shape.subject, shape.floor_name, product, floor, note=note)


def _compared(product: Callable[[], Results], floor: Callable[[], list[Any]]) -> int:
    """How many customers ordered, once product and floor agree on all figures to 1e-9."""
    found = product()
    said: Figures = {
        (metric.metric, arm.arm): (arm.n, arm.mean or 0.0, arm.variance or 0.0)
        for metric in found.metrics
        for arm in metric.arms
    }
    known: Figures = {(row.metric, row.arm): (row.n, row.mean, row.variance) for row in floor()}
    same = said.keys() == known.keys() and all(
        isclose(mine, theirs, rel_tol=1e-9, abs_tol=1e-12)
        for key, figures in known.items()
        for mine, theirs in zip(said[key], map(float, figures), strict=True)
    )
    if not same:
        raise RuntimeError(f"the product says {said}, the hand {known}")
    return sum(arm.responders for arm in found.metrics[0].arms)
