-- A segment is a rule; version is the one in force. Versions are never changed or removed.
create table audience.segment (
    id         uuid primary key,
    key        text collate "C" not null unique,
    name       text,
    version    integer not null,
    created_at timestamptz not null,
    revised_at timestamptz not null
);
create index segment_in_order on audience.segment (created_at, id);

create table audience.segment_version (
    segment_id uuid not null references audience.segment (id),
    version    integer not null,
    definition jsonb not null,
    note       text,
    created_at timestamptz not null,
    constraint segment_version_key primary key (segment_id, version)
);

-- The trait's value that the top share of customers reached at one time, so that a clause about one customer stays a
-- clause about that customer alone. Cut-offs are dated and never changed.
create table audience.cutoff (
    trait     text collate "C" not null,
    name      text collate "C" not null,
    at        timestamptz not null,
    top_share double precision not null check (top_share > 0 and top_share < 1),
    value     numeric not null,
    customers bigint not null,
    constraint cutoff_key primary key (trait, name, at)
);

-- A preview groups by this expression; knowing that it has 16 values lets Postgres share the counting.
create statistics audience.customer_bucket on (hashtext(customer_id) & 15), (erased_at is null) from audience.customer;
