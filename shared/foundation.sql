-- What every service has in its own schema, beside its own nouns. Local tables: they are never distributed.
create table job (
    id               uuid primary key,
    kind             text not null,
    state            text not null default 'queued' check (state in ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    progress         float8 not null default 0 check (progress between 0 and 1),
    arguments        jsonb not null,
    result           jsonb,
    problem          jsonb,
    cancel_requested boolean not null default false,
    queue_id         bigint,
    request_id       text,
    created_at       timestamptz not null,
    started_at       timestamptz,
    finished_at      timestamptz
);
create index job_created_at on job (created_at, id);
create index job_open on job (state) where state in ('queued', 'running');

create table idempotency_key (
    caller     text not null,
    route      text not null,
    key        text not null,
    digest     bytea not null,
    answer     text,
    created_at timestamptz not null,
    primary key (caller, route, key)
);
create index idempotency_key_created_at on idempotency_key (caller, created_at);
