-- As at feedback's door: case does not matter, and a refusal whose channel or purpose is no known word covers every one.
create temporary table known_channel (name text primary key) on commit drop;
insert into known_channel
values ('app'), ('email'), ('fax'), ('messenger'), ('phone'), ('post'), ('push'), ('sms'), ('web'), ('whatsapp'), ('*');
create temporary table known_purpose (name text primary key) on commit drop;
insert into known_purpose values ('marketing'), ('service'), ('*');

update audience.suppression as s
   set channel = coalesce((select k.name from known_channel as k where k.name = lower(s.channel)), '*')
 where s.channel not in (select k.name from known_channel as k);

-- Permissions for unknown words stay as they were said; nobody can ask for them.
insert into audience.consent
       (customer_id, brand, channel, purpose, at, state, source, wording, evidence, expires_at, recorded_at)
select c.customer_id, c.brand,
       coalesce(k.name, case when c.state in ('denied', 'withdrawn') then '*' else c.channel end),
       coalesce(p.name, case when c.state in ('denied', 'withdrawn') then '*' else c.purpose end),
       c.at, c.state, c.source, c.wording, c.evidence, c.expires_at, c.recorded_at
  from audience.consent as c
  left join known_channel as k on k.name = lower(c.channel)
  left join known_purpose as p on p.name = lower(c.purpose)
 where c.channel is distinct from k.name or c.purpose is distinct from p.name
    on conflict do nothing;
delete from audience.consent as c
 where c.channel <> lower(c.channel) and lower(c.channel) in (select k.name from known_channel as k)
    or c.purpose <> lower(c.purpose) and lower(c.purpose) in (select k.name from known_purpose as k)
    or c.state in ('denied', 'withdrawn')
       and (lower(c.channel) not in (select k.name from known_channel as k)
            or lower(c.purpose) not in (select k.name from known_purpose as k));

insert into audience.contact_point (customer_id, channel, handle, address_hash, status, verified_at, updated_at)
select distinct on (p.customer_id, k.name)
       p.customer_id, k.name, p.handle, p.address_hash, p.status, p.verified_at, p.updated_at
  from audience.contact_point as p
  join known_channel as k on k.name = lower(p.channel)
 where p.channel <> k.name
 order by p.customer_id, k.name, p.updated_at desc
    on conflict do nothing;
delete from audience.contact_point as p
 using known_channel as k
 where k.name = lower(p.channel) and p.channel <> k.name;

update audience.campaign as c set channel = lower(c.channel) where c.channel <> lower(c.channel);
update audience.target_list as t
   set channel = lower(t.channel), purpose = lower(t.purpose)
 where t.channel <> lower(t.channel) or t.purpose <> lower(t.purpose);
