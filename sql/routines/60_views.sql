-- What an operator reads. Ages and trouble are computed when asked, so they are true even when no
-- daemon runs.

create or replace view auth_reconciler.judged_rows as
select
    r.odd,
    r.instance_id as id,
    r.provider,
    r.auth_status,
    case when p.instance_id is null then i.reason else 'Paused' end as reason,
    auth_reconciler.message_of(i.message, i.foreign_at, p.paused_by, p.reason) as message,
    case when p.instance_id is null then i.since else p.paused_at end as since,
    i.cause,
    i.reaction_ms,
    i.next_attempt_at,
    p.instance_id is null and (coalesce(i.trouble_at <= now(), false) or fight.slow) as trouble,
    p.instance_id is null and coalesce(i.contested, 0) > 0 as contested,
    p.instance_id is not null as paused,
    auth_reconciler.legible(p.paused_by) as paused_by,
    p.paused_at,
    auth_reconciler.legible(p.reason) as pause_reason,
    i.auth_status as verdict,
    i.looks,
    i.recorded_at,
    i.container_state as container,
    i.container_name,
    i.container_started_at,
    coalesce(c.count, 0) as unobserved,
    c.oldest as unobserved_since,
    (select w.relation from auth_reconciler.watched_table as w where w.id = r.watched_id) as watched_table
from (
    select false as odd, a.* from auth_reconciler.watched_rows() as a
    union all
    select true, o.* from auth_reconciler.odd_rows() as o
) as r
left join auth_reconciler.instance as i
    on i.watched_id = r.watched_id and i.instance_id = r.instance_id
left join auth_reconciler.pause as p
    on p.watched_id = r.watched_id and p.instance_id = r.instance_id
cross join lateral (
    select coalesce(i.foreign_at[13] > now() - interval '1 hour', false) as slow
) as fight
left join (
    select change.watched_id, change.instance_id, count(*) as count, min(change.changed_at) as oldest
    from auth_reconciler.change
    group by change.watched_id, change.instance_id
) as c on c.watched_id = r.watched_id and c.instance_id = r.instance_id;

comment on view auth_reconciler.judged_rows is
    'What instances and problems show: all rows where odd is false, and the odd ones of them once more where it is true. Ask for one of the two.';

create or replace view auth_reconciler.instances as
select
    i.id, i.provider, i.auth_status, i.reason, i.message, i.since, i.cause,
    round(i.reaction_ms::numeric, 1) as reaction_ms, i.next_attempt_at,
    i.trouble, i.contested, i.paused, i.paused_by, i.paused_at, i.pause_reason, i.verdict, i.looks,
    i.recorded_at, i.container, i.container_name, i.container_started_at, i.unobserved, i.unobserved_since,
    i.watched_table
from auth_reconciler.judged_rows as i
where not i.odd;

comment on view auth_reconciler.instances is
    'Everything that is known of each instance, one row each, for programs and \x. On a terminal read status.';
comment on column auth_reconciler.instances.id is 'The instance.';
comment on column auth_reconciler.instances.provider is 'Its provider.';
comment on column auth_reconciler.instances.auth_status is 'What the column says now, whoever wrote it.';
comment on column auth_reconciler.instances.reason is 'Why, in one word; null before the first look.';
comment on column auth_reconciler.instances.message is 'Why, for a person, with what to do.';
comment on column auth_reconciler.instances.since is 'Since when status and reason are so, or since when it is paused.';
comment on column auth_reconciler.instances.cause is 'What led to the last look.';
comment on column auth_reconciler.instances.reaction_ms is 'Time from that cause to the record, in milliseconds.';
comment on column auth_reconciler.instances.next_attempt_at is 'When it is looked at again without an event; null if it is final.';
comment on column auth_reconciler.instances.trouble is 'Failed, contested, waiting for longer than the grace time, or written by somebody else more than 12 times within an hour; never while paused.';
comment on column auth_reconciler.instances.contested is 'Somebody keeps writing wrong values faster than the budget of corrections.';
comment on column auth_reconciler.instances.paused is 'An operator called pause(): it is left alone.';
comment on column auth_reconciler.instances.paused_by is 'Who paused it.';
comment on column auth_reconciler.instances.paused_at is 'Since when it is paused.';
comment on column auth_reconciler.instances.pause_reason is 'Why it is paused, in the operator''s words.';
comment on column auth_reconciler.instances.verdict is 'What the last look found auth_status should be; null where hands are off.';
comment on column auth_reconciler.instances.looks is 'Looks recorded so far.';
comment on column auth_reconciler.instances.recorded_at is 'When the last look was recorded.';
comment on column auth_reconciler.instances.container is
    'State of its container as the last look saw it, in the engine''s words, or removed; null if none was seen.';
comment on column auth_reconciler.instances.container_name is 'Name of that container.';
comment on column auth_reconciler.instances.container_started_at is 'When that container was last started, by the engine''s clock.';
comment on column auth_reconciler.instances.unobserved is 'Changes that no look has answered for yet.';
comment on column auth_reconciler.instances.unobserved_since is 'When the oldest of them was made.';
comment on column auth_reconciler.instances.watched_table is 'The table of the row.';

comment on column auth_reconciler.judged_rows.odd is 'Whether it is one of the odd ones.';
do $body$
declare
    said record;
begin
    for said in
        select a.attname, col_description(a.attrelid, a.attnum) as words
        from pg_catalog.pg_attribute as a
        where a.attrelid = 'auth_reconciler.instances'::regclass and a.attnum > 0
    loop
        execute format('comment on column auth_reconciler.judged_rows.%I is %L', said.attname, said.words);
    end loop;
end
$body$;

create or replace view auth_reconciler.status as
select
    i.id,
    i.auth_status,
    i.reason,
    -- Only what is read of it is put in words.
    auth_reconciler.age_of(i.since) as age,
    case
        when i.paused then 'paused'
        when i.contested then 'contested'
        when i.unobserved > 0 then 'waiting'
        when i.trouble then 'trouble'
        when i.looks is null then 'unseen'
        else 'ok'
    end as state
from (
    select *
    from auth_reconciler.judged_rows as j
    where not j.odd
    order by j.trouble or j.paused desc, j.since desc nulls last, j.id
) as i;

comment on view auth_reconciler.status is
    'One row per instance, narrow enough for a terminal: its status, why, and for how long. More of each in instances, what needs a person in problems.';
comment on column auth_reconciler.status.id is 'The instance.';
comment on column auth_reconciler.status.auth_status is 'What the column says now, whoever wrote it.';
comment on column auth_reconciler.status.reason is 'Why, in one word; null before the first look.';
comment on column auth_reconciler.status.age is 'For how long status and reason are so.';
comment on column auth_reconciler.status.state is
    'paused (by an operator), contested (somebody keeps writing other values), waiting (for a look at a change), trouble (failed, or waiting too long), unseen (no look yet), ok.';

create or replace view auth_reconciler.totals as
select
    auth_reconciler.legible(c.auth_status) as auth_status, coalesce(c.reason, 'Unseen') as reason, sum(c.instances)::bigint as instances,
    sum(c.in_trouble)::bigint as in_trouble, sum(c.contested)::bigint as contested, sum(c.paused)::bigint as paused
from auth_reconciler.counted_rows() as c
group by c.auth_status, c.reason
order by sum(c.instances) desc, c.auth_status, c.reason;

comment on view auth_reconciler.totals is 'How many instances there are of each status and reason: instances, counted.';
comment on column auth_reconciler.totals.auth_status is 'What the column says now, whoever wrote it.';
comment on column auth_reconciler.totals.reason is 'Why, in one word; Unseen before the first look.';
comment on column auth_reconciler.totals.instances is 'How many there are.';
comment on column auth_reconciler.totals.in_trouble is
    'Those of them that are failed, contested, waiting for longer than the grace time, or written by somebody else more than 12 times within an hour; never while paused.';
comment on column auth_reconciler.totals.contested is
    'Those of them that somebody keeps writing wrong values to, faster than the budget of corrections; never while paused.';
comment on column auth_reconciler.totals.paused is 'Those of them that an operator paused.';

create or replace view auth_reconciler.overview as
select
    auth_reconciler.legible(c.auth_status) as auth_status,
    coalesce(c.reason, 'Unseen') as reason,
    sum(c.instances)::bigint as instances,
    sum(c.in_trouble)::bigint as in_trouble,
    auth_reconciler.age_of(max(c.newest)) as newest,
    auth_reconciler.age_of(min(c.oldest)) as oldest
from auth_reconciler.counted_rows() as c
group by c.auth_status, c.reason
order by sum(c.in_trouble) desc, sum(c.instances) desc, c.auth_status, c.reason;

comment on view auth_reconciler.overview is
    'The fleet in one screen: how many instances there are of each status and reason, and since when they are so. Trouble comes first.';
comment on column auth_reconciler.overview.auth_status is 'What the column says now, whoever wrote it.';
comment on column auth_reconciler.overview.reason is 'Why, in one word; Unseen before the first look.';
comment on column auth_reconciler.overview.instances is 'How many there are.';
comment on column auth_reconciler.overview.in_trouble is
    'Those of them that are failed, contested, waiting for longer than the grace time, or written by somebody else more than 12 times within an hour; never while paused.';
comment on column auth_reconciler.overview.newest is 'For how long the latest of them is so; null before the first look.';
comment on column auth_reconciler.overview.oldest is 'For how long the first of them is so.';

create or replace view auth_reconciler.transitions as
select
    t.id,
    t.instance_id,
    t.at,
    auth_reconciler.legible(t.from_status) as from_status,
    t.to_status,
    t.reason,
    t.cause,
    round(t.reaction_ms::numeric, 1) as reaction_ms,
    t.message,
    w.relation as watched_table
from auth_reconciler.transition as t
join auth_reconciler.watched_table as w on w.id = t.watched_id;

comment on view auth_reconciler.transitions is
    'History: each time the status of an instance moved. In no order, so that any is cheap: order by id.';
comment on column auth_reconciler.transitions.id is 'Its number; grows with time.';
comment on column auth_reconciler.transitions.instance_id is 'The instance.';
comment on column auth_reconciler.transitions.at is 'When it was recorded.';
comment on column auth_reconciler.transitions.from_status is 'What the column said before, whoever wrote it.';
comment on column auth_reconciler.transitions.to_status is 'What it says since.';
comment on column auth_reconciler.transitions.reason is 'Why, in one word.';
comment on column auth_reconciler.transitions.cause is 'What led to the look.';
comment on column auth_reconciler.transitions.reaction_ms is 'Time from that cause to the record, in milliseconds.';
comment on column auth_reconciler.transitions.message is 'Why, for a person.';
comment on column auth_reconciler.transitions.watched_table is 'The table of the row.';
