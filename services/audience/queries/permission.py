"""Permission as a set: the rule of `services.audience.permission`, over audience's own record and feedback's
withdrawals, which are in force from the moment feedback has them. Lists, send-checks and segments embed its SQL."""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from services.audience.permission import Scope, dated
from services.audience.queries.parameters import with_json
from shared.contracts.permissions import Consent, ConsentStatement
from shared.contracts.scopes import WITHOUT_ADDRESS
from shared.db import Db
from shared.pages import PageRequest

SAID = """
    (select c.customer_id, c.brand, c.channel, c.purpose, c.at, c.state, c.expires_at
       from audience.consent as c
      where not (c.state = 'withdrawn' and c.source = 'feedback: bounced')
      union all
     select w.customer_id, coalesce(w.brand, '*'), coalesce(w.channel, '*'), coalesce(w.purpose, '*'), w.at,
            'withdrawn', cast(null as timestamptz)
       from published.feedback_withdrawals as w
      where w.reason <> 'bounced')
"""
"""Every statement, as audience stores it. A bounce is none: an address is wrong, which forbids nobody another one.
While a release is rolled out, a worker of an older one still records bounces as withdrawals."""

HOLDING = f"""
    select distinct on (h.customer_id) h.customer_id, h.state, h.permits
      from (select s.customer_id, s.at,
                   cast(s.brand <> '*' as integer) + cast(s.channel <> '*' as integer)
                   + cast(s.purpose <> '*' as integer) as named,
                   s.state in ('granted', 'soft_opt_in', 'legitimate_interest')
                   and (s.expires_at is null or s.expires_at > :now) as permits,
                   case when s.state in ('granted', 'soft_opt_in', 'legitimate_interest') and s.expires_at <= :now
                        then 'expired' else s.state end as state
              from {SAID} as s
             where s.customer_id {{asked}}
               and (s.brand = :brand and s.channel = :channel and s.purpose = :purpose and s.at <= :now
                    or s.state in ('denied', 'withdrawn') and lower(s.brand) in (lower(:brand), '*')
                       and lower(s.channel) in (lower(:channel), '*') and lower(s.purpose) in (lower(:purpose), '*')
                   )) as h
     order by h.customer_id, h.at desc, h.named desc, h.permits, h.state desc
"""  # noqa: S608
"""The holding statement of customers who are `asked` about and of whom something was said: its state, and whether it
permits (:brand, :channel, :purpose, :now). Who is not in it has no permission. Only a refusal covers every brand,
channel or purpose. Of several that are equal in all that decides, the last state by the alphabet is shown."""

HAS_ADDRESS = f"""(p.handle is not null or p.address_hash is not null
            or p.channel in ({", ".join(f"'{channel}'" for channel in WITHOUT_ADDRESS)}))"""
"""Whether a contact point says where it leads to, or need not."""
REACHABLE = f"""
    select p.customer_id
      from audience.contact_point as p
     where p.channel = :channel and p.status = 'active' and {HAS_ADDRESS}
       and not exists (select
                         from published.feedback_withdrawals as w
                        where w.customer_id = p.customer_id and w.channel = lower(p.channel) and w.reason = 'bounced'
                          and w.at >= p.updated_at)
"""  # noqa: S608
"""Customers with an address on :channel that works. One that feedback heard bounce does not, before audience has it on
its own record."""

PERMITTED_OF = sa.text(f"""
    with permission as ({HOLDING.format(asked="= any(cast(:customers as text[]))")})
    select p.customer_id from permission as p where p.permits
""")  # noqa: S608

COLUMNS = """c.customer_id, nullif(c.brand, '*') as brand, nullif(c.channel, '*') as channel,
           nullif(c.purpose, '*') as purpose, c.state, c.at, c.source, c.wording, c.evidence, c.expires_at,
           c.recorded_at"""
HISTORY = sa.text(f"""
    select {COLUMNS}, c.brand || ' ' || c.channel || ' ' || c.purpose || ' ' || c.state as place
      from audience.consent as c
     where c.customer_id = :customer
       and (cast(:at as timestamptz) is null
            or (c.at, c.brand || ' ' || c.channel || ' ' || c.purpose || ' ' || c.state) < (:at, :place))
     order by c.at desc, place desc
     limit :limit
""")  # noqa: S608
SAID_BEFORE = """
        on conflict (customer_id, brand, channel, purpose, at, state) do update
       set expires_at = least(c.expires_at, excluded.expires_at)
"""
"""What was said with the same scope, instant and state stands with its own words; of two ends the earlier holds."""

RECORD = with_json(
    sa.text(f"""
    insert into audience.consent as c
           (customer_id, brand, channel, purpose, at, state, source, wording, evidence, expires_at, recorded_at)
    values (:customer, coalesce(:brand, '*'), coalesce(:channel, '*'), coalesce(:purpose, '*'), :at, :state, :source,
            :wording, :evidence, :expires_at, :now)
{SAID_BEFORE}
 returning {COLUMNS}
"""),  # noqa: S608
    "evidence",
)
BRAND_IS_KNOWN = sa.text("""
    select exists (select from audience.campaign as c where lower(c.brand) = lower(:brand))
        or exists (select
                     from audience.consent as c
                    where c.customer_id = :customer and lower(c.brand) = lower(:brand)
                      and c.state not in ('denied', 'withdrawn'))
""")
HEARD = sa.text("""
    select count(*)
      from published.feedback_withdrawals as w
     where w.xid >= cast(:low as xid8) and w.xid < cast(:high as xid8)
""")
# Feedback's withdrawals become part of audience's own record. Read from the position on; taking one twice does nothing.
TAKE_WITHDRAWALS = sa.text("""
    insert into audience.consent (customer_id, brand, channel, purpose, at, state, source, recorded_at)
    select w.customer_id, coalesce(w.brand, '*'), coalesce(w.channel, '*'), coalesce(w.purpose, '*'), w.at,
           'withdrawn', 'feedback: ' || w.reason, :now
      from published.feedback_withdrawals as w
     where w.xid >= cast(:low as xid8) and w.xid < cast(:high as xid8) and w.reason <> 'bounced'
     order by w.customer_id
        on conflict do nothing
""")
TAKE_BOUNCES = sa.text("""
    with bounced as (
        select p.customer_id, p.channel
          from audience.contact_point as p
          join published.feedback_withdrawals as w on w.customer_id = p.customer_id and w.channel = lower(p.channel)
         where w.xid >= cast(:low as xid8) and w.xid < cast(:high as xid8)
           and w.reason = 'bounced' and p.status = 'active' and p.updated_at <= w.at
         order by p.customer_id, p.channel
           for update of p
    )
    update audience.contact_point as p
       set status = 'bounced', updated_at = :now
      from bounced as b
     where p.customer_id = b.customer_id and p.channel = b.channel
""")


def permitted(db: Db, customers: Sequence[str], scope: Scope, now: datetime) -> set[str]:
    """Which of these customers may be contacted within `scope` at `now`."""
    rows = db.execute(PERMITTED_OF, {"customers": list(customers), **scope._asdict(), "now": now})
    return set(rows.scalars())


def history(db: Db, customer_id: str, page: PageRequest) -> list[tuple[str, Consent]]:
    """(place, statement), newest first, one more than the page holds."""
    at, place = page.after or (None, None)
    asked = {"customer": customer_id, "at": at, "place": place, "limit": page.limit + 1}
    found = []
    for row in db.execute(HISTORY, asked):
        values = dict(row._mapping)
        found.append((values.pop("place"), Consent.model_validate(values)))
    return found


def record(db: Db, customer_id: str, channel: str | None, statement: ConsentStatement, now: datetime) -> Consent:
    """Append a statement, or give the one with the same scope, instant and state, which ends when the earlier ends."""
    row = statement.model_dump(mode="json", exclude={"at", "expires_at"})
    row |= {"customer": customer_id, "channel": channel, "now": now}
    row |= {"at": dated(statement.state, statement.at or now, now)}
    row |= {"expires_at": statement.expires_at}
    return Consent.model_validate(dict(db.execute(RECORD, row).one()._mapping))


def brand_is_known(db: Db, customer_id: str, brand: str) -> bool:
    """Whether a campaign has the brand, or anything but refusals was said about this customer for it."""
    known: bool = db.execute(BRAND_IS_KNOWN, {"customer": customer_id, "brand": brand}).scalar_one()
    return known


def take_withdrawals(db: Db, low: str, high: str, now: datetime) -> int:
    """Record what feedback heard in the transactions in [low, high), bounces too; gives how much that was."""
    window = {"low": low, "high": high}
    heard: int = db.execute(HEARD, window).scalar_one()
    if heard:
        db.execute(TAKE_WITHDRAWALS, {**window, "now": now})
        db.execute(TAKE_BOUNCES, {**window, "now": now})
    return heard
