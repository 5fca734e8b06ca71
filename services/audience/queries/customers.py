"""Portraits and contact points of single customers."""

from datetime import datetime

import sqlalchemy as sa

from shared.contracts.audience import Portrait
from shared.contracts.permissions import ContactPoint, ContactPointContent
from shared.db import Db
from shared.errors import NotFound
from shared.pages import PageRequest

COLUMNS = """c.customer_id, c.attributes, c.filled, c.traits, c.profiling, c.known_at, c.updated_at,
           coalesce((select jsonb_agg(jsonb_build_object(
                                'channel', p.channel, 'handle', p.handle, 'status', p.status,
                                'address_hash', encode(p.address_hash, 'hex'),
                                'verified_at', p.verified_at, 'updated_at', p.updated_at) order by p.channel)
                       from audience.contact_point as p
                      where p.customer_id = c.customer_id), '[]') as contact_points,
           coalesce((select jsonb_agg(jsonb_build_object(
                                'customer_id', c.customer_id, 'brand', nullif(n.brand, '*'),
                                'channel', nullif(n.channel, '*'), 'purpose', nullif(n.purpose, '*'),
                                'state', n.state, 'at', n.at, 'source', n.source, 'wording', n.wording,
                                'evidence', n.evidence, 'expires_at', n.expires_at, 'recorded_at', n.recorded_at)
                            order by n.brand, n.channel, n.purpose)
                       from (select distinct on (s.brand, s.channel, s.purpose) s.*
                               from audience.consent as s
                              where s.customer_id = c.customer_id
                              order by s.brand, s.channel, s.purpose, s.at desc,
                                       s.state in ('granted', 'soft_opt_in', 'legitimate_interest'), s.state desc
                            ) as n), '[]') as consents"""
ONE = sa.text(f"""
    select {COLUMNS} from audience.customer as c where c.customer_id = :customer and c.erased_at is null
""")  # noqa: S608
KNOWN = sa.text("select exists (select from audience.customer as c where c.customer_id = :customer)")
PAGE = sa.text(f"""
    select {COLUMNS}
      from audience.customer as c
     where c.erased_at is null and (cast(:after as text) is null or c.customer_id > :after)
     order by c.customer_id
     limit :limit
""")  # noqa: S608
MAKE_KNOWN = sa.text("""
    insert into audience.customer (customer_id, known_at, updated_at)
    values (:customer, :now, :now)
        on conflict (customer_id) do nothing
""")
NAMES = sa.text("""
    select array(select jsonb_object_keys(c.attributes)) as names
      from audience.customer as c
     where c.customer_id = :customer and c.erased_at is null
       for update
""")
# What names no address speaks of the one that is known, and ends a bounce of it only where it says so.
SAME = "excluded.handle is null and excluded.address_hash is null"
PUT_CONTACT_POINT = sa.text(f"""
    insert into audience.contact_point as p
           (customer_id, channel, handle, address_hash, status, verified_at, updated_at)
    values (:customer, :channel, :handle, decode(:address_hash, 'hex'), :status, :verified_at, :now)
        on conflict (customer_id, channel) do update
       set handle = case when {SAME} then p.handle else excluded.handle end,
           address_hash = case when {SAME} then p.address_hash else excluded.address_hash end,
           verified_at = case when {SAME} then coalesce(excluded.verified_at, p.verified_at)
                              else excluded.verified_at end,
           status = case when {SAME} and not :names_status then p.status else excluded.status end,
           updated_at = case when {SAME} and not :names_status then p.updated_at else excluded.updated_at end
 returning p.channel, p.handle, encode(p.address_hash, 'hex') as address_hash, p.status, p.verified_at, p.updated_at
""")  # noqa: S608


def portrait(db: Db, customer_id: str) -> Portrait:
    """Raises `NotFound`."""
    row = db.execute(ONE, {"customer": customer_id}).one_or_none()
    if row is None:
        raise NotFound("There is no such customer.")
    return Portrait.model_validate(dict(row._mapping))


def is_known(db: Db, customer_id: str) -> bool:
    """Whether there is, or was before an erasure, such a customer."""
    return bool(db.execute(KNOWN, {"customer": customer_id}).scalar_one())


def portraits(db: Db, page: PageRequest) -> list[Portrait]:
    """By id, one more than the page holds."""
    after = page.after[0] if page.after else None
    rows = db.execute(PAGE, {"after": after, "limit": page.limit + 1})
    return [Portrait.model_validate(dict(row._mapping)) for row in rows]


def make_known(db: Db, customer_id: str, now: datetime) -> None:
    """A customer without attributes, unless there is one: what is not there cannot be locked."""
    db.execute(MAKE_KNOWN, {"customer": customer_id, "now": now})


def attribute_names(db: Db, customer_id: str) -> list[str] | None:
    """The attributes a customer has, locked until the end of the transaction; None for an unknown customer."""
    row = db.execute(NAMES, {"customer": customer_id}).one_or_none()
    return None if row is None else list(row.names)


def put_contact_point(
    db: Db, customer_id: str, channel: str, content: ContactPointContent, now: datetime
) -> ContactPoint:
    """The point as it stands now."""
    row = {"customer": customer_id, "channel": channel, "now": now, **content.model_dump(exclude={"status"})}
    row |= {"status": content.status.value, "names_status": "status" in content.model_fields_set}
    return ContactPoint.model_validate(dict(db.execute(PUT_CONTACT_POINT, row).one()._mapping))
