-- How many customers there are to be assigned: an external split of a list may come in waves, and how far it has come
-- is a share of the whole list. Null where it is those assigned.
alter table experiments.assignment_run add column population bigint;
