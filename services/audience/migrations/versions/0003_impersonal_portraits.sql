-- What others read they freeze as features of models. The catalogue is read once for each statement, not for each row.
create or replace view published.audience_portraits as
select c.customer_id,
       c.attributes - array(select a.name from audience.attribute as a where a.personal) as attributes,
       c.traits, c.profiling, c.updated_at
  from audience.customer as c
 where c.erased_at is null;
comment on view published.audience_portraits is
    'Customers known and not erased. attributes is flat, without personal ones; traits is {name: {"value", '
    '"computed_at", "model"}}; profiling false is an objection: no model may use the row.';

create view published.audience_personal_attributes as
select a.name
  from audience.attribute as a
 where a.personal;
comment on view published.audience_personal_attributes is
    'Names of attributes whose values are personal: whatever a caller says of them, no model may use it.';
