-- What values an attribute may take, and how its gaps are filled.
create table audience.attribute (
    name        text primary key,
    type        text not null check (type in ('number', 'text', 'boolean', 'date', 'instant')),
    unit        text,
    description text not null default '',
    allowed     jsonb,
    personal    boolean not null default false,
    supplement  jsonb,
    fill_value  jsonb,
    created_at  timestamptz not null,
    updated_at  timestamptz not null
);

-- attributes: told, name → value. filled: supplemented, name → value, never for a name that attributes holds.
-- traits: derived, name → {"value", "computed_at", "model"}. last_import: the bulk load that spoke of the customer last.
create table audience.customer (
    customer_id text collate "C" not null,
    attributes  jsonb not null default '{}' check (jsonb_typeof(attributes) = 'object'),
    filled      jsonb not null default '{}' check (jsonb_typeof(filled) = 'object'),
    traits      jsonb not null default '{}' check (jsonb_typeof(traits) = 'object'),
    profiling   boolean not null default true,
    known_at    timestamptz not null,
    updated_at  timestamptz not null,
    erased_at   timestamptz,
    last_import uuid,
    constraint customer_key primary key (customer_id)
);

-- How a customer can be reached. Addresses are keyed hashes; a handle is the sending tool's own opaque name.
create table audience.contact_point (
    customer_id  text collate "C" not null,
    channel      text not null,
    handle       text,
    address_hash bytea,
    status       text not null check (status in ('active', 'bounced', 'closed')),
    verified_at  timestamptz,
    updated_at   timestamptz not null,
    constraint contact_point_key primary key (customer_id, channel)
);
create index contact_point_of_address on audience.contact_point (address_hash);

-- Append-only. '*' in brand, channel or purpose covers every one; only refusals may hold it.
create table audience.consent (
    customer_id text collate "C" not null,
    brand       text not null,
    channel     text not null,
    purpose     text not null,
    at          timestamptz not null,
    state       text not null check (state in ('unknown', 'pending', 'granted', 'soft_opt_in', 'legitimate_interest',
                                               'denied', 'withdrawn', 'expired')),
    source      text not null,
    wording     text,
    evidence    jsonb,
    expires_at  timestamptz,
    recorded_at timestamptz not null,
    constraint consent_key primary key (customer_id, brand, channel, purpose, at, state) include (expires_at),
    constraint only_refusals_cover_everything
        check (state in ('denied', 'withdrawn') or '*' not in (brand, channel, purpose))
);

-- Do not contact: channel '*' is every channel.
create table audience.suppression (
    customer_id text collate "C" not null,
    id          uuid not null,
    channel     text not null,
    reason      text not null,
    ends_at     timestamptz,
    created_at  timestamptz not null,
    constraint suppression_key primary key (customer_id, id)
);
create index suppression_in_order on audience.suppression (created_at, id);

create table audience.campaign (
    id         uuid primary key,
    key        text not null unique,
    name       text not null,
    brand      text not null,
    channel    text not null,
    purpose    text not null check (purpose in ('marketing', 'service')),
    budget     numeric check (budget >= 0),
    currency   text,
    send_at    timestamptz,
    owner      text,
    created_at timestamptz not null
);

-- A frozen list. It is written once, whole, with its members; only its release is added later.
create table audience.target_list (
    id                   uuid primary key,
    name                 text not null unique,
    campaign             text,
    segment_id           uuid not null,
    segment_key          text not null,
    segment_version      integer not null,
    definition           jsonb not null,
    brand                text not null,
    channel              text not null,
    purpose              text not null,
    rank_by              jsonb,
    member_limit         bigint,
    strata               jsonb not null,
    holdout_share        double precision not null,
    max_contacts         jsonb,
    global_control_share double precision not null,
    seed                 text not null,
    as_of                timestamptz not null,
    known_at             timestamptz,
    count                bigint not null default 0,
    held_out             bigint not null default 0,
    digest               text,
    funnel               jsonb,
    built_at             timestamptz not null,
    released_at          timestamptz,
    expires_at           timestamptz not null
);
create index target_list_in_order on audience.target_list (built_at, id);

-- probability: the chance with which the member's stratum is held out.
create table audience.list_member (
    customer_id text collate "C" not null,
    list_id     uuid not null,
    rank        bigint not null,
    stratum     text not null,
    held_out    boolean not null,
    probability double precision not null,
    features    jsonb not null,
    constraint list_member_key primary key (list_id, customer_id)
);
create index list_member_in_order on audience.list_member (list_id, rank);

-- Bulk loads. reasons: [{"pointer", "detail", "rows"}]; supplemented: attribute → customers.
create table audience.import (
    id            uuid primary key,
    kind          text not null check (kind in ('customers')),
    format        text not null check (format in ('json', 'ndjson', 'csv')),
    state         text not null check (state in ('running', 'finished', 'failed')),
    rows          bigint not null default 0,
    accepted      bigint not null default 0,
    customers     bigint not null default 0,
    new_customers bigint not null default 0,
    reasons       jsonb not null default '[]',
    supplemented  jsonb not null default '{}',
    problem       text,
    started_at    timestamptz not null,
    finished_at   timestamptz
);
create index import_in_order on audience.import (started_at, id);

-- Rows that were refused, without raw addresses, personal values or values of undeclared fields. One row may have
-- several reasons (ordinal).
create table audience.import_reject (
    import_id uuid not null,
    row       bigint not null,
    ordinal   integer not null,
    pointer   text not null,
    detail    text not null,
    content   jsonb not null,
    constraint import_reject_key primary key (import_id, row, ordinal)
);

-- How far a consumer has read what another service publishes (an xid; never max(id), which skips late commits). The
-- position is true for one cluster only.
create table audience.position (
    consumer text primary key,
    cluster  bigint not null,
    xid      xid8 not null
);

-- Stable, not immutable, because convert_to is: only so the planner inlines it.
create function audience.lot(seed text, customer_id text) returns bytea
    language sql stable parallel safe
    return sha256(convert_to(seed || chr(31) || customer_id, 'UTF8'));
comment on function audience.lot is
    'What a seed draws for a customer: SHA-256 over seed, U+001F, customer_id. Lots are compared as bytes.';

create view published.audience_portraits as
select c.customer_id, c.attributes, c.traits, c.profiling, c.updated_at
  from audience.customer as c
 where c.erased_at is null;
comment on view published.audience_portraits is
    'Customers known and not erased. attributes is flat; traits is {name: {"value", "computed_at", "model"}}; '
    'profiling false is an objection: no model may use the row.';

create view published.audience_list_members as
select m.list_id, m.customer_id, m.rank, m.stratum, m.held_out, m.features
  from audience.list_member as m;
comment on view published.audience_list_members is
    'Who is on a target list. Rows never change. Members held out are never contacted; features are the attributes and '
    'traits as they were at the list''s as_of.';
