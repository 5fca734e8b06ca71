-- What was kept as it was spelled is brought into the form that later withdrawals get on their way in.
with named as (
    select w.customer_id, w.event_id,
           substring(lower(btrim(w.brand, E' \t\r\n')) from '^[a-z0-9][a-z0-9_.-]{0,99}$') as brand,
           (select k.name
              from unnest(array['app', 'email', 'fax', 'messenger', 'phone', 'post', 'push', 'sms', 'web', 'whatsapp'])
                   as k (name)
             where k.name = lower(btrim(w.channel, E' \t\r\n'))) as channel,
           (select k.name
              from unnest(array['marketing', 'service']) as k (name)
             where k.name = lower(btrim(w.purpose, E' \t\r\n'))) as purpose
      from feedback.withdrawal as w
)
update feedback.withdrawal as w
   set brand = n.brand, channel = coalesce(n.channel, case when w.reason = 'bounced' then 'email' end),
       purpose = n.purpose
  from named as n
 where n.customer_id = w.customer_id and n.event_id = w.event_id
   and (w.brand, w.channel, w.purpose) is distinct from (n.brand, n.channel, n.purpose);

-- accepting: decided, and audience is being told; nobody can turn it down any more.
alter table feedback.refinement drop constraint refinement_state_check;
alter table feedback.refinement add constraint refinement_state_check check (
    state in ('searching', 'proposed', 'nothing', 'accepting', 'accepted', 'rejected', 'failed', 'cancelled'));
alter table feedback.model_run drop constraint model_run_state_check;
alter table feedback.model_run add constraint model_run_state_check check (
    state in ('training', 'published', 'delivered', 'failed', 'cancelled'));
