-- What names nothing known covers everything: who says no must be heard, however it is spelled. Brands are the
-- installation's own, so that any well-formed one is known; channels and purposes are those of
-- `shared.contracts.scopes`. The table itself computes it, because processes of an earlier release write on during an
-- upgrade; and it is stored, because lists read all withdrawals, and computing it in the view took them five times as
-- long. An event's own words stay in brand, channel and purpose.
alter table feedback.withdrawal
    add column covers_brand text generated always as (
        substring(lower(btrim(brand, E' \t\r\n')) from '^[a-z0-9][a-z0-9_.-]{0,99}$')) stored,
    add column covers_channel text generated always as (
        case when lower(btrim(channel, E' \t\r\n'))
                  in ('app', 'email', 'fax', 'messenger', 'phone', 'post', 'push', 'sms', 'web', 'whatsapp')
             then lower(btrim(channel, E' \t\r\n'))
             when reason = 'bounced' then 'email'
        end) stored,
    add column covers_purpose text generated always as (
        case when lower(btrim(purpose, E' \t\r\n')) in ('marketing', 'service')
             then lower(btrim(purpose, E' \t\r\n'))
        end) stored;

create or replace view published.feedback_withdrawals as
select w.customer_id, w.covers_brand as brand, w.covers_channel as channel, w.covers_purpose as purpose, w.at, w.reason,
       w.event_id, w.batch_id, w.xid
  from feedback.withdrawal as w;
