-- A row is one version of a metric and never changes.
create table experiments.metric (
    id             uuid primary key,
    key            text not null,
    version        integer not null,
    kind           text not null check (kind in ('proportion', 'count', 'revenue', 'profit')),
    window_days    integer not null check (window_days > 0),
    currency       text,
    margin         numeric,
    value_property text,
    definition     jsonb not null,
    created_at     timestamptz not null,
    constraint metric_version unique (key, version)
);

-- The kinds of event that a metric counts; condition is null where all of the kind count.
create table experiments.metric_event (
    metric_id uuid not null references experiments.metric,
    position  integer not null,
    kind      text not null,
    sign      integer not null check (sign in (1, -1)),
    condition jsonpath,
    constraint metric_event_key primary key (metric_id, position)
);

-- definition: the design as it was given, weights summing to one. population: where the customers come from, once known.
create table experiments.experiment (
    id             uuid primary key,
    key            text not null unique,
    state          text not null check (state in ('draft', 'running', 'paused', 'stopped', 'archived')),
    population     text check (population in ('list', 'external', 'online')),
    target_list_id uuid,
    definition     jsonb not null,
    seed           text not null,
    design_digest  text,
    created_at     timestamptz not null,
    started_at     timestamptz,
    stopped_at     timestamptz
);
create index experiment_in_order on experiments.experiment (created_at, id);

create table experiments.arm (
    experiment_id    uuid not null references experiments.experiment,
    key              text not null,
    position         integer not null,
    weight           float8 not null check (weight > 0 and weight <= 1),
    control          boolean not null,
    contact          boolean not null,
    payload          jsonb,
    cost_per_contact numeric,
    constraint arm_key primary key (experiment_id, key)
);
create unique index arm_control on experiments.arm (experiment_id) where control;

-- The metrics of a started experiment, at the version they had then. planned_variance: of one customer, frozen with the
-- first look, which fixes where sequential intervals are tightest.
create table experiments.measured (
    experiment_id    uuid not null references experiments.experiment,
    metric_id        uuid not null references experiments.metric,
    role             text not null check (role in ('primary', 'secondary', 'guardrail')),
    position         integer not null,
    allowance        float8,
    planned_variance float8,
    constraint measured_key primary key (experiment_id, metric_id)
);

create table experiments.assignment (
    customer_id   text collate "C" not null,
    experiment_id uuid not null,
    arm           text not null,
    t0            timestamptz not null,
    probability   float8 not null check (probability > 0 and probability <= 1),
    stratum       text not null,
    features      jsonb not null,
    source        text not null check (source in ('list', 'external', 'online')),
    assigned_at   timestamptz not null,
    xid           xid8 not null default pg_current_xact_id(),
    constraint assignment_key primary key (experiment_id, customer_id)
);
create index assignment_arrival on experiments.assignment (xid);

-- A whole population that was assigned, written in one transaction with its rows.
create table experiments.assignment_run (
    experiment_id uuid primary key references experiments.experiment,
    source        text not null check (source in ('list', 'external')),
    t0            timestamptz,
    assigned      bigint not null,
    list_digest   text,
    design_digest text not null,
    code_version  text not null,
    finished_at   timestamptz not null
);

-- Rows of an external split while their upload lasts.
create table experiments.external_row (
    load_id     uuid not null,
    line        bigint not null,
    customer_id text collate "C" not null,
    arm         text not null,
    t0          timestamptz not null,
    loaded_at   timestamptz not null,
    constraint external_row_key primary key (load_id, customer_id, line)
);
create index external_row_age on experiments.external_row (loaded_at);

-- How many customers were assigned, as far as outcomes are counted; those without an outcome are zeros.
create table experiments.cohort (
    experiment_id uuid not null,
    arm           text not null,
    stratum       text not null,
    day           date not null,
    customers     bigint not null,
    earliest_t0   timestamptz not null,
    latest_t0     timestamptz not null,
    constraint cohort_key primary key (experiment_id, day, stratum, arm)
);

-- What was counted about a customer in [t0, t0 + window), replaced as a whole whenever something arrives.
-- other_currency: qualifying events that are not in value because they are in another currency, or in none.
create table experiments.outcome (
    customer_id    text collate "C" not null,
    experiment_id  uuid not null,
    metric_id      uuid not null,
    arm            text not null,
    t0             timestamptz not null,
    stratum        text not null,
    value          float8 not null,
    other_currency integer not null,
    constraint outcome_key primary key (experiment_id, metric_id, customer_id)
);

-- Events that speak of the experiment and do not fit the assignment: before t0, naming another arm, or a contact of
-- somebody whom no arm contacts.
create table experiments.discrepancy (
    customer_id   text collate "C" not null,
    experiment_id uuid not null,
    early         integer not null,
    other_arm     integer not null,
    contacted     integer not null,
    constraint discrepancy_key primary key (experiment_id, customer_id)
);

-- How far arrivals are counted (an xid, true for one cluster only). usual_lag: the 99th percentile of the time between
-- an event and its arrival, of the arrivals counted last.
create table experiments.position (
    consumer  text primary key,
    cluster   bigint not null,
    xid       xid8 not null,
    moved_at  timestamptz not null,
    usual_lag interval not null default '0'
);
insert into experiments.position (consumer, cluster, xid, moved_at)
select 'outcomes', c.system_identifier, '0', now() from pg_control_system() as c;

create table experiments.look (
    experiment_id uuid not null references experiments.experiment,
    number        integer not null,
    taken_at      timestamptz not null,
    as_of         timestamptz not null,
    content       jsonb not null,
    past          jsonb not null,
    constraint look_key primary key (experiment_id, number)
);

create function experiments.known_traits(traits jsonb, t0 timestamptz) returns jsonb
    language sql immutable parallel safe
    return (select coalesce(jsonb_object_agg(t.key, t.value -> 'value'), '{}')
              from jsonb_each(traits) as t
             where (t.value ->> 'computed_at')::timestamptz <= t0);
comment on function experiments.known_traits is
    'Traits of a portrait as a flat object: those derived at t0 or before, because later ones may know the response.';

create view published.experiments_assignments as
select a.experiment_id, x.key as experiment_key, a.customer_id, a.arm, r.control, r.contact, a.t0, a.probability,
       a.stratum, a.features, x.target_list_id, a.source, a.assigned_at, a.xid
  from experiments.assignment as a
  join experiments.experiment as x on x.id = a.experiment_id
  join experiments.arm as r on r.experiment_id = a.experiment_id and r.key = a.arm;
comment on view published.experiments_assignments is
    'Who has which arm, with which probability, from when (t0). features are frozen: nothing in them was derived after '
    't0. Rows never change. xid: read from a position up to pg_snapshot_xmin(pg_current_snapshot()).';

create view published.experiments_outcomes as
select o.experiment_id, o.customer_id, m.key as metric_key, m.version as metric_version, o.arm, o.t0, o.value
  from experiments.outcome as o
  join experiments.metric as m on m.id = o.metric_id;
comment on view published.experiments_outcomes is
    'What was counted about a customer in the metric''s window. Only customers with something have a row; the others are '
    'zeros. Uncapped; profit without the cost of contacts.';
