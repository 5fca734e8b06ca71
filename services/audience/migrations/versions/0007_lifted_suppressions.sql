-- lifted_by: the id of the API key that lifted it.
alter table audience.suppression
    add column lifted_at   timestamptz,
    add column lifted_by   text,
    add column lift_reason text,
    add constraint lifted_with_a_reason check (num_nonnulls(lifted_at, lifted_by, lift_reason) in (0, 3));
create index suppression_by_id on audience.suppression (id);
