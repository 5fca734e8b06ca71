-- Who may call. Belongs to no service; the services' roles may only read it.
create schema if not exists access;
create schema if not exists published;
create table if not exists access.api_key (
    id          uuid primary key,
    name        text not null,
    scopes      text[] not null,
    secret_hash bytea not null,
    created_at  timestamptz not null,
    expires_at  timestamptz,
    revoked_at  timestamptz
);
comment on table access.api_key is 'API keys, as keyed hashes of their secrets.';
comment on schema published is 'Views by which one service shows sets to another. Each is an API.';
