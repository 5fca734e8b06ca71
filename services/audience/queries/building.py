"""Freezing a list: a segment's members are screened, ranked, limited and drawn as whole sets, in one transaction."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa

from services.audience.control import SERVICE_MESSAGES, Control
from services.audience.draw import bound
from services.audience.funnel import Left
from services.audience.permission import Scope
from services.audience.queries.permission import HOLDING, REACHABLE
from shared.contracts.targeting import MaxContacts, RankBy, Reference
from shared.db import Db, be_patient, take_whole_sets, waiting_for_others

ROOM = sa.text("set local work_mem = '128MB'")  # a million members are sorted in memory
ONE_AT_A_TIME = sa.text("select pg_advisory_xact_lock(hashtext('audience.target_list'))")
AS_IT_WAS = sa.text("set local enable_nestloop = on")
MATCHED = sa.text('create temporary table matched (customer_id text collate "C" not null) on commit drop')
STUDY_MATCHED = sa.text("analyze matched")
STUDY_SCREENED = sa.text("analyze screened")
matched = sa.table("matched", sa.column("customer_id"))

CONTACTS = """
    select x.customer_id, count(*) as contacts
      from (select e.customer_id
              from published.feedback_events as e
             where e.kind = 'sent' and e.occurred_at >= :since
               and not exists (select
                                 from audience.target_list as l
                                where l.id = e.target_list and l.purpose = :free)
               and not exists (select
                                 from audience.campaign as k
                                where k.key = e.campaign and k.purpose = :free)
               and not exists (select
                                 from audience.campaign as k
                                where cast(k.id as text) = lower(e.campaign) and k.purpose = :free)
             union all
            select r.customer_id
              from audience.list_member as r
              join audience.target_list as l on l.id = r.list_id
              left join audience.campaign as k on k.key = l.campaign or cast(k.id as text) = lower(l.campaign)
             where l.purpose <> :free and (l.expires_at > :now or l.released_at >= :since)
               and not exists (select
                                 from published.feedback_events as e
                                where e.customer_id = r.customer_id and e.kind in ('sent', 'not_sent')
                                  and e.target_list = r.list_id)
               and not exists (select
                                 from published.feedback_events as e
                                where e.customer_id = r.customer_id and e.kind in ('sent', 'not_sent')
                                  and e.target_list is null
                                  and (e.campaign = k.key or lower(e.campaign) = cast(k.id as text))
                                  and e.occurred_at >= l.as_of)
           ) as x
     group by x.customer_id
"""
"""Contacts by customer since :since: what was sent, and what other lists reserve (members held out hold a place, too).

A reservation lasts until its list expires, and from its release on as long as what was sent then would count, or until
the event that says what became of it, `sent` (counted in its place) or `not_sent`: it names the list or, after the list
was frozen, its campaign. Messages of the purpose :free are not counted.
"""
NO_CONTACTS = "select cast(null as text) as customer_id, 0 as contacts limit 0"

SCREENED = """
    create temporary table screened on commit drop as
    with permission as ({permitted}),
         reachable as ({reachable}),
         contact as ({contacts})
    select m.customer_id,
           a.customer_id is not null as reachable,
           coalesce(p.permits, false) as permitted,
           exists (select
                     from audience.suppression as s
                    where s.customer_id = m.customer_id and s.channel in (:channel, '*')
                      and s.lifted_at is null and (s.ends_at is null or s.ends_at > :now)) as suppressed,
           coalesce(k.contacts, 0) >= :most as fatigued,
           :controls and audience.lot(:control_seed, m.customer_id) < :control_bound as controlled
      from matched as m
      left join reachable as a on a.customer_id = m.customer_id
      left join permission as p on p.customer_id = m.customer_id
      left join contact as k on k.customer_id = m.customer_id
"""
PARTS = {"permitted": HOLDING.format(asked="in (select m.customer_id from matched as m)"), "reachable": REACHABLE}
SCREENED_UNCAPPED = sa.text(SCREENED.format(**PARTS, contacts=NO_CONTACTS))
SCREENED_CAPPED = sa.text(SCREENED.format(**PARTS, contacts=CONTACTS))

LEFT = sa.text("""
    select count(*) as matched,
           count(*) filter (where s.reachable) as reachable,
           count(*) filter (where s.reachable and s.permitted) as permitted,
           count(*) filter (where s.reachable and s.permitted and not s.suppressed) as not_suppressed,
           count(*) filter (where s.reachable and s.permitted and not s.suppressed
                              and not s.fatigued) as not_fatigued,
           count(*) filter (where s.reachable and s.permitted and not s.suppressed
                              and not s.fatigued and not s.controlled) as not_in_global_control
      from screened as s
""")

# Values of who objects to profiling, and traits computed after as_of, take no part: they count as missing.
CHOSEN = sa.text("""
    create temporary table chosen on commit drop as
    with eligible as (
        select c.customer_id, c.attributes, c.traits, c.profiling
          from screened as s
          join audience.customer as c on c.customer_id = s.customer_id
         where s.reachable and s.permitted and not s.suppressed and not s.fatigued and not s.controlled
    ),
    said as (
        select e.customer_id,
               case when not e.profiling then null
                    when cast(:rank_kind as text) = 'attribute' then e.attributes -> cast(:rank_name as text)
                    when :rank_kind = 'trait'
                         and cast(e.traits -> :rank_name ->> 'computed_at' as timestamptz) <= :as_of
                    then e.traits -> :rank_name -> 'value' end as value,
               case when cardinality(cast(:strata_names as text[])) = 0 then ''
                    else (select string_agg(r.name || '=' || coalesce(
                                     case when not e.profiling then null
                                          when r.kind = 'attribute' then e.attributes ->> r.name
                                          when cast(e.traits -> r.name ->> 'computed_at' as timestamptz) <= :as_of
                                          then e.traits -> r.name ->> 'value' end, ''), ' | ' order by r.place)
                            from unnest(cast(:strata_kinds as text[]), cast(:strata_names as text[]))
                                 with ordinality as r (kind, name, place)) end collate "C" as stratum
          from eligible as e
    ),
    valued as materialized (
        select s.customer_id, s.stratum,
               case when jsonb_typeof(s.value) = 'number'
                    then cast(s.value as numeric) * :rank_sign end as value
          from said as s
    ),
    ranked as (
        select v.customer_id, v.stratum,
               row_number() over (order by v.value desc nulls last, audience.lot(:seed || ' order', v.customer_id),
                                           v.customer_id) as rank
          from valued as v
    ),
    placed as (
        select r.customer_id, r.stratum, r.rank,
               row_number() over (order by r.stratum, audience.lot(:seed || ' holdout', r.customer_id),
                                           r.customer_id) as place
          from ranked as r
         where r.rank <= :most
    ),
    drawn as (
        select p.customer_id, p.rank, p.stratum,
               floor(p.place * :holdout_share + 0.5) > floor((p.place - 1) * :holdout_share + 0.5) as held_out
          from placed as p
    )
    select d.customer_id, d.rank, d.stratum, d.held_out,
           avg(cast(d.held_out as integer)) over (partition by d.stratum) as probability
      from drawn as d
""")
FROZEN = sa.text("""
    select count(*) as limited, count(*) filter (where c.held_out) as held_out,
           encode(sha256(convert_to(coalesce(string_agg(
               cast(jsonb_build_array(c.customer_id, c.stratum, c.held_out) as text), chr(10) order by c.rank
           ), ''), 'UTF8')), 'hex') as digest
      from chosen as c
""")
STORE = sa.text("""
    insert into audience.list_member (customer_id, list_id, rank, stratum, held_out, probability, features)
    select h.customer_id, :list, h.rank, h.stratum, h.held_out, h.probability,
           case when not c.profiling then '{}'
                when c.traits = '{}' then c.attributes - cast(:personal as text[])
                else (select coalesce(jsonb_object_agg(t.key, t.value -> 'value'), '{}')
                        from jsonb_each(c.traits) as t
                       where cast(t.value ->> 'computed_at' as timestamptz) <= :as_of)
                     || (c.attributes - cast(:personal as text[])) end
      from chosen as h
      join audience.customer as c on c.customer_id = h.customer_id
     order by h.customer_id
""")

UNLIMITED = 2**62


class Screening(NamedTuple):
    """What members are screened by at `known_at`. `since` is where the window of `max_contacts` begins."""

    scope: Scope
    known_at: datetime
    max_contacts: MaxContacts | None
    since: datetime | None
    control: Control


class Choice(NamedTuple):
    """How the screened are ranked, limited and drawn."""

    rank_by: RankBy | None
    limit: int | None
    strata: list[Reference]
    holdout_share: float
    seed: str
    as_of: datetime


class Frozen(NamedTuple):
    """The members that were chosen: `limited` of them, of whom `held_out` are never contacted."""

    limited: int
    held_out: int
    digest: str


def match(db: Db, members: sa.Select[tuple[str]]) -> None:
    """Put the members of a segment aside."""
    be_patient(db)
    db.execute(ROOM)
    db.execute(MATCHED)
    take_whole_sets(db)
    db.execute(sa.insert(matched).from_select(["customer_id"], members))
    db.execute(AS_IT_WAS)
    db.execute(STUDY_MATCHED)


def keep_others_waiting(db: Db) -> None:
    """Until the end of the transaction no other list is built: it would reserve the same contacts.

    Raises `Busy` when too many wait already.
    """
    with waiting_for_others(db):
        db.execute(ONE_AT_A_TIME)
    be_patient(db)


def screen(db: Db, by: Screening) -> Left:
    """Screen the matched; gives how many are left after each step."""
    capped = by.max_contacts is not None
    asked = {
        **by.scope._asdict(),
        "now": by.known_at,
        "most": by.max_contacts.count if by.max_contacts else UNLIMITED,
        "control_seed": by.control.seed,
        "control_bound": bound(by.control.share),
        "controls": by.control.share > 0,
    }
    if capped:
        asked |= {"since": by.since, "free": SERVICE_MESSAGES}
    db.execute(SCREENED_CAPPED if capped else SCREENED_UNCAPPED, asked)
    db.execute(STUDY_SCREENED)
    return Left(*db.execute(LEFT).one())


def choose(db: Db, by: Choice) -> Frozen:
    """Rank, limit and draw those who are left."""
    kind, name = _named(by.rank_by) if by.rank_by else (None, None)
    strata = [_named(one) for one in by.strata]
    asked = {
        "rank_kind": kind,
        "rank_name": name,
        "rank_sign": -1 if by.rank_by and by.rank_by.order == "ascending" else 1,
        "strata_kinds": [kind for kind, _ in strata],
        "strata_names": [name for _, name in strata],
        "most": by.limit or UNLIMITED,
        "holdout_share": by.holdout_share,
        "seed": by.seed,
        "as_of": by.as_of,
    }
    db.execute(CHOSEN, asked)
    return Frozen(*db.execute(FROZEN).one())


def _named(reference: Reference) -> tuple[str, str]:
    if reference.attribute is not None:
        return "attribute", reference.attribute
    return "trait", reference.trait or ""


def store(db: Db, list_id: UUID, as_of: datetime, personal: Sequence[str]) -> None:
    """Write the chosen as members, with their features as of `as_of`; `personal` attributes are none."""
    db.execute(STORE, {"list": list_id, "as_of": as_of, "personal": list(personal)})
