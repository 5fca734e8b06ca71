"""Counting whom a segment would mean, clause by clause, against SQL written by hand for the same figures.

The product is all that the service does for a preview, from the definition as a message to the answer as one: reading
the catalogue, checking, compiling, counting. The floor is one statement that somebody who knows the tables would
write, over the same tables and indexes; both must come to the same figures.
"""

from datetime import UTC, datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from services.audience.actions.segments import preview
from shared.contracts.segments import PreviewRequest
from shared.db import connect, read_only
from tests.bench.installation import installation
from tests.bench.row import Row, compare_times

CUSTOMERS, EVENTS = 1_000_000, 10_000_000
AS_OF = datetime(2026, 6, 30, tzinfo=UTC)
HEAVY_INDEXES = ("event_of_kind", "event_of_batch")  # made after the rows, which is faster

CATALOGUE = """
    insert into audience.attribute (name, type, created_at, updated_at)
    select a.name, a.type, :as_of, :as_of from (values ('country', 'text'), ('age', 'number')) as a (name, type)
"""
PEOPLE = """
    insert into audience.customer (customer_id, attributes, traits, known_at, updated_at)
    select 'customer-' || lpad(cast(n as text), 8, '0'),
           jsonb_build_object('country', (array['fr', 'pt', 'de', 'es', 'it', 'nl', 'be', 'pl'])[1 + n % 8],
                              'age', 18 + n * 7 % 60, 'tier', 'silver', 'newsletter', n % 2 = 0),
           jsonb_build_object('monetary', jsonb_build_object('value', n * 31 % 1000, 'model', 'rfm',
                                                             'computed_at', '2026-06-01T00:00:00+00:00')),
           :as_of, :as_of
      from generate_series(1, :customers) as n
"""
CONSENTS = """
    insert into audience.consent (customer_id, brand, channel, purpose, at, state, source, recorded_at)
    select c.customer_id, 'default', 'email', 'marketing', :as_of - interval '100 days',
           case when hashtext(c.customer_id) % 10 > -7 then 'granted' else 'denied' end, 'bench', :as_of
      from audience.customer as c
"""
HAPPENED = """
    insert into feedback.event (customer_id, event_id, kind, category, occurred_at, received_at, value, properties,
                                batch_id)
    select 'customer-' || lpad(cast(1 + floor(power(n / cast(:events as float8), 1.5) * (:customers - 1)) as text), 8,
                               '0'),
           'event-' || n,
           case when hashint8(n) & 7 < 2 then 'order' else 'view' end,
           'category-' || n / 3 % 20,
           :as_of - interval '1 second' * (n * 7919 % 31536000), :as_of, n * 17 % 500,
           jsonb_build_object('category', 'category-' || n / 3 % 20), 0
      from generate_series(cast(1 as bigint), :events) as n
"""


class Shape(NamedTuple):
    """A definition, and SQL for the same figures: all customers, members, then each clause by itself."""

    subject: str
    definition: dict[str, Any]
    by_hand: str


BOUGHT_TWICE = {
    "event": "order",
    "where": {"category": {"is": "eq", "value": "category-7"}},
    "is": "gte",
    "value": 2,
    "within_days": 90,
}
SHAPES = (
    Shape(
        "preview: a category twice in 90 days, a country and consent",
        {
            "all": [
                BOUGHT_TWICE,
                {"attribute": "country", "is": "in", "value": ["fr", "pt"]},
                {"consent": "email", "purpose": "marketing"},
            ]
        },
        """
        select count(*), count(*) filter (where x.bought and x.here and x.permits), count(*) filter (where x.bought),
               count(*) filter (where x.here), count(*) filter (where x.permits)
          from (select b.customer_id is not null as bought, c.attributes ->> 'country' in ('fr', 'pt') as here,
                       coalesce(p.permits, false) as permits
                  from audience.customer as c
                  left join (select e.customer_id
                               from published.feedback_events as e
                              where e.kind = 'order' and e.category = 'category-7'
                                and e.occurred_at >= cast(:as_of as timestamptz) - interval '90 days'
                                and e.occurred_at < :as_of
                              group by e.customer_id
                             having count(*) >= 2) as b on b.customer_id = c.customer_id
                  left join (select distinct on (s.customer_id) s.customer_id, s.permits
                               from (select n.customer_id, n.at,
                                            cast(n.brand <> '*' as integer) + cast(n.channel <> '*' as integer)
                                            + cast(n.purpose <> '*' as integer) as named,
                                            n.state in ('granted', 'soft_opt_in', 'legitimate_interest')
                                            and (n.expires_at is null or n.expires_at > :as_of) as permits
                                       from audience.consent as n
                                      where n.brand in ('default', '*') and n.channel in ('email', '*')
                                        and n.purpose in ('marketing', '*')
                                        and (n.at <= :as_of or n.state in ('denied', 'withdrawn'))
                                      union all
                                     select w.customer_id, w.at,
                                            num_nonnulls(w.brand, w.channel, w.purpose) as named, false as permits
                                       from published.feedback_withdrawals as w
                                      where coalesce(w.brand, 'default') = 'default'
                                        and coalesce(w.channel, 'email') = 'email'
                                        and coalesce(w.purpose, 'marketing') = 'marketing') as s
                              order by s.customer_id, s.at desc, s.named desc, s.permits) as p
                         on p.customer_id = c.customer_id
                 where c.erased_at is null) as x
        """,
    ),
    Shape(
        "preview: no order in a year, a trait and an age",
        {
            "all": [
                {"not": {"event": "order", "within_days": 365}},
                {"trait": "monetary", "is": "gte", "value": 500},
                {"attribute": "age", "is": "between", "value": [25, 40]},
            ]
        },
        """
        select count(*), count(*) filter (where not x.bought and x.rich and x.young),
               count(*) filter (where not x.bought), count(*) filter (where x.bought), count(*) filter (where x.rich),
               count(*) filter (where x.young)
          from (select b.customer_id is not null as bought,
                       cast(c.traits -> 'monetary' ->> 'value' as numeric) >= 500
                       and cast(c.traits -> 'monetary' ->> 'computed_at' as timestamptz) <= :as_of as rich,
                       cast(c.attributes ->> 'age' as numeric) between 25 and 40 as young
                  from audience.customer as c
                  left join (select e.customer_id
                               from published.feedback_events as e
                              where e.kind = 'order'
                                and e.occurred_at >= cast(:as_of as timestamptz) - interval '365 days'
                                and e.occurred_at < :as_of
                              group by e.customer_id) as b on b.customer_id = c.customer_id
                 where c.erased_at is null) as x
        """,
    ),
    Shape(
        "preview: spent 1,000 in 180 days or looked 5 times in 14",
        {
            "any": [
                {"event": "order", "measure": "sum", "is": "gte", "value": 1000, "within_days": 180},
                {"event": "view", "is": "gte", "value": 5, "within_days": 14},
            ]
        },
        """
        select count(*), count(*) filter (where x.spent or x.looked), count(*) filter (where x.spent),
               count(*) filter (where x.looked)
          from (select coalesce(s.total, 0) >= 1000 as spent, coalesce(v.times, 0) >= 5 as looked
                  from audience.customer as c
                  left join (select e.customer_id, sum(e.value) as total
                               from published.feedback_events as e
                              where e.kind = 'order'
                                and e.occurred_at >= cast(:as_of as timestamptz) - interval '180 days'
                                and e.occurred_at < :as_of
                              group by e.customer_id) as s on s.customer_id = c.customer_id
                  left join (select e.customer_id, count(*) as times
                               from published.feedback_events as e
                              where e.kind = 'view'
                                and e.occurred_at >= cast(:as_of as timestamptz) - interval '14 days'
                                and e.occurred_at < :as_of
                              group by e.customer_id) as v on v.customer_id = c.customer_id
                 where c.erased_at is null) as x
        """,
    ),
)


def run(size: float) -> list[Row]:
    """Measure every shape; `size` 1 is a million customers and ten million events."""
    with installation() as settings:
        fill(connect(settings.database_url, name="bench"), size)
        engine = connect(settings.database_of("audience"), name="bench")
        try:
            return [measure(engine, shape, size) for shape in SHAPES]
        finally:
            engine.dispose()


def fill(engine: sa.Engine, size: float) -> None:
    """Customers with consent, and their events over a year; the active ones have most."""
    figures = {"as_of": AS_OF, "customers": int(CUSTOMERS * size), "events": int(EVENTS * size)}
    with engine.begin() as connection:
        indexes = [
            connection.execute(sa.text("select pg_get_indexdef(cast(:name as regclass))"), {"name": f"feedback.{name}"})
            for name in HEAVY_INDEXES
        ]
        definitions = [found.scalar_one() for found in indexes]
        for name in HEAVY_INDEXES:
            connection.exec_driver_sql(f"drop index feedback.{name}")
        for statement in (CATALOGUE, PEOPLE, CONSENTS, HAPPENED):
            connection.execute(sa.text(statement), figures)
        for definition in definitions:
            connection.exec_driver_sql(definition)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("vacuum analyze")
    engine.dispose()


def measure(engine: sa.Engine, shape: Shape, size: float) -> Row:
    """One shape. Raises `AssertionError` when the product and the hand come to different figures."""
    request = PreviewRequest(definition=shape.definition, as_of=AS_OF, timeout_ms=60_000)
    by_hand = sa.text(shape.by_hand)

    def product() -> list[int]:
        with read_only(engine) as db:
            found = preview(db, request)
        return [found.known, *(clause.count for clause in found.clauses)]

    def floor() -> list[int]:
        with read_only(engine) as db:
            return list(db.execute(by_hand, {"as_of": AS_OF}).one())

    assert product() == floor(), shape.subject
    note = f"{CUSTOMERS * size:,.0f} customers, {EVENTS * size:,.0f} events, {product()[1]:,} meant"
    return compare_times(shape.subject, "SQL by hand, same figures", product, floor, note=note)
