"""Arrivals that another cluster numbered: after a restore they arrive again, under this cluster's numbers.

Readers take rows whose transaction id lies between their position and the oldest transaction under way. Ids belong to
one cluster: a copy restored into a younger one holds ids that it will not reach for years, and its readers would wait.
"""

import sqlalchemy as sa
import structlog

log = structlog.get_logger()

AT_A_TIME = 20_000  # rows of one transaction
NUMBERED = sa.text("""
    select format('%I.%I', n.nspname, c.relname) as place, quote_ident(a.attname) as number
      from pg_attrdef as d
      join pg_attribute as a on a.attrelid = d.adrelid and a.attnum = d.adnum
      join pg_class as c on c.oid = d.adrelid
      join pg_namespace as n on n.oid = c.relnamespace
     where n.nspname = :schema and c.relkind = 'r' and a.atttypid = cast('xid8' as regtype)
       and pg_get_expr(d.adbin, d.adrelid) = 'pg_current_xact_id()'
     order by place, number
""")
# What we see was committed before our snapshot: a number at or beyond its end was given by another cluster.
ANY = "select exists (select from {place} as r where r.{number} >= pg_snapshot_xmax(pg_current_snapshot()))"
RENUMBER = """
    update {place} as w
       set {number} = pg_current_xact_id()
     where w.ctid = any(array(select r.ctid
                                from {place} as r
                               where r.{number} >= pg_snapshot_xmax(pg_current_snapshot())
                               order by r.{number}
                               limit {at_a_time}))
"""


def renumber(engine: sa.Engine, schema: str) -> None:
    """Let what another cluster numbered arrive again, in every table of `schema` that numbers its arrivals.

    Run by the tables' owner. Readers start over in another cluster, so nothing is taken twice. Where nothing is foreign
    this is one look at the end of an index; broken off, it goes on where it was.
    """
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for place, number in connection.execute(NUMBERED, {"schema": schema}).all():
            if not connection.exec_driver_sql(ANY.format(place=place, number=number)).scalar_one():
                continue
            connection.exec_driver_sql(f"analyze {place}")  # a restored table has no statistics, and needs its index
            statement = RENUMBER.format(place=place, number=number, at_a_time=AT_A_TIME)
            rows = 0
            while done := connection.exec_driver_sql(statement).rowcount:
                rows += done
            log.info("arrivals renumbered", table=place, rows=rows)
