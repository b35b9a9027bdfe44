-- When each instance was ready and when not, from the transitions that are kept.

create or replace view auth_reconciler.spells as
select
    s.instance_id as id,
    s.status,
    s.began,
    s.ended,
    s.fell,
    s.watched_id
from (
    -- Each begins with the tables, of which there are few: so one instance is found along the indexes, which begin with them.
    select
        t.watched_id, t.instance_id, t.to_status as status, t.at as began,
        coalesce(lead(t.at) over follows, now()) as ended,
        -- A correction says of the status before it only what somebody else wrote.
        coalesce(lag(t.to_status) over follows, case when t.cause <> 'drift' then t.from_status end, '') = 'client_ready'
            and t.to_status <> 'client_ready' as fell
    from auth_reconciler.watched_table as w
    join auth_reconciler.transition as t on t.watched_id = w.id
    window follows as (partition by t.watched_id, t.instance_id order by t.id)
    union all
    -- History may have forgotten its last move, or have seen none.
    select i.watched_id, i.instance_id, i.auth_status, i.since, now(), false
    from auth_reconciler.watched_table as w
    join auth_reconciler.instance as i on i.watched_id = w.id
    where i.auth_status is not null and not exists (
        select from auth_reconciler.transition as t where t.watched_id = i.watched_id and t.instance_id = i.instance_id
    )
) as s
-- Of a row that is gone nobody asks how it fares.
where exists (
    select from auth_reconciler.instance as i where i.watched_id = s.watched_id and i.instance_id = s.instance_id
);

comment on view auth_reconciler.spells is
    'From when to when each instance had which status, as far back as history is kept. Read days and last_day instead.';
comment on column auth_reconciler.spells.id is 'The instance.';
comment on column auth_reconciler.spells.status is 'The status that was found.';
comment on column auth_reconciler.spells.began is 'When it was recorded.';
comment on column auth_reconciler.spells.ended is 'When the next one was recorded; now for the one that stands.';
comment on column auth_reconciler.spells.fell is 'Whether the instance was ready until then and is not ready in this spell.';
comment on column auth_reconciler.spells.watched_id is 'The number of the table of the row.';

create or replace view auth_reconciler.days as
select
    s.id,
    d.day::date as day,
    count(*) filter (where s.fell and s.began >= d.day) as flaps,
    -- In hours, however many days are added up.
    make_interval(secs => floor(
        coalesce(
            sum(extract(epoch from least(s.ended, d.day + interval '1 day') - greatest(s.began, d.day)))
                filter (where s.status <> 'client_ready'),
            0))::double precision) as down,
    date_trunc('second', max(least(s.ended, d.day + interval '1 day')) filter (where s.status = 'client_ready')) as last_ready
from auth_reconciler.spells as s
cross join lateral generate_series(date_trunc('day', s.began), s.ended, interval '1 day') as d (day)
group by s.watched_id, s.id, d.day
order by d.day desc, 3 desc, 4 desc, s.id;

comment on view auth_reconciler.days is
    'One line per instance and day of the time zone of who asks: how often it ceased to be ready, and for how long it was not ready. As far back as history is kept. Ask for one instance (where id = …) where there are many.';
comment on column auth_reconciler.days.id is 'The instance.';
comment on column auth_reconciler.days.day is 'The day.';
comment on column auth_reconciler.days.flaps is 'How often it ceased to be ready.';
comment on column auth_reconciler.days.down is 'For how long it was not ready, whatever else it was.';
comment on column auth_reconciler.days.last_ready is 'When on this day it was last ready; null if it never was.';

create or replace view auth_reconciler.last_day as
select
    h.id,
    -- What is known reaches from some half hour to the last one.
    lpad(string_agg(h.sign, '' order by h.half_hour), 48) as last_day,
    sum(h.flaps)::bigint as flaps
from (
    select
        s.watched_id,
        s.id,
        g.half_hour,
        repeat(
            -- The worst of it, for what is short is what one looks for.
            case
                when bool_or(s.status = 'failed') then '!'
                when bool_or(s.status = 'pending') then '-'
                when bool_or(s.status <> 'client_ready') then 'q'
                else '#'
            end, case when bool_or(s.lasted) then 48 else 1 end) as sign,
        count(*) filter (where s.fell and g.half_hour = g.first) as flaps
    from (
        select
            l.*,
            -- Counted from 24 hours ago on.
            floor(extract(epoch from l.began - now() + interval '1 day') / 1800)::integer as first,
            floor(extract(epoch from l.ended - now() + interval '1 day') / 1800)::integer as last,
            -- Most of a large fleet: then there is no other spell, and one row is enough.
            l.began < now() - interval '1 day' and l.ended = now() as lasted
        from auth_reconciler.spells as l
        where l.ended > now() - interval '1 day'
    ) as s
    cross join lateral (
        select n as half_hour, s.first
        from generate_series(greatest(0, s.first), case when s.lasted then 0 else least(47, s.last) end) as n
    ) as g
    group by s.watched_id, s.id, g.half_hour
) as h
group by h.watched_id, h.id
order by sum(h.flaps) desc, h.id;

comment on view auth_reconciler.last_day is
    'The last 24 hours of each instance in one line, a character for each half hour, the newest last. Who flapped most comes first. Ask for one instance (where id = …) where there are many.';
comment on column auth_reconciler.last_day.id is 'The instance.';
comment on column auth_reconciler.last_day.last_day is
    'The worst of each half hour: # ready, q waits for its QR code or has just authenticated, - pending, ! failed; blank before history is kept.';
comment on column auth_reconciler.last_day.flaps is 'How often it ceased to be ready in these 24 hours.';
