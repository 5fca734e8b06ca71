-- How many events of a kind arrived on a day (UTC) so many minutes after they occurred, rounded up:
-- to the minute below an hour, to the hour beyond. Days are forgotten when they are no longer asked for.
create table experiments.arrival_delay (
    day     date not null,
    kind    text not null,
    minutes integer not null,
    events  bigint not null,
    constraint arrival_delay_key primary key (day, kind, minutes)
);
