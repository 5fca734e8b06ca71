-- Only instants have several forms. Offsets that Postgres does not read (16 hours and more) stay as they were written.
with written as (
    select a.name, cast(a.supplement ->> 'value' as timestamptz) at time zone 'UTC' as instant
      from audience.attribute as a
     where a.type = 'instant' and a.supplement ->> 'method' = 'constant'
       and a.supplement ->> 'value' ~ '([Zz]|[+-](0[0-9]|1[0-5]):[0-9]{2})$'
),
kept as (
    select w.name,
           to_jsonb(to_char(w.instant, case when w.instant = date_trunc('second', w.instant)
                                            then 'YYYY-MM-DD"T"HH24:MI:SS"Z"'
                                            else 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"' end)) as value
      from written as w
)
update audience.attribute as a
   set supplement = jsonb_set(a.supplement, '{value}', k.value), fill_value = k.value
  from kept as k
 where k.name = a.name and a.fill_value <> k.value;
