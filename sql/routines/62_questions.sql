-- The questions of a bad night, each one view.

create or replace function auth_reconciler.faults() returns table (problem text, why text)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $body$
    select 'NobodyLeads', 'no daemon leads: no status is kept true and changes wait in the log; start one with `auth-reconciler run`'
    where auth_reconciler.nobody_leads()
    union all
    select 'LeaderSilent', format(
        'the daemon that leads (process %s on %s) answers for nothing since %s though changes wait: it is frozen or hangs; restart it',
        p.process, p.host, date_trunc('second', p.last_sign))
    from auth_reconciler.processes() as p
    where p.role = 'active' and auth_reconciler.stands_still(p.last_sign)
    union all
    select 'ForeignLock', l.why from auth_reconciler.foreign_locks() as l
    union all
    select o.problem, o.detail from auth_reconciler.own_troubles() as o where o.problem = 'LogRefuses'
    union all
    select a.problem, a.why
    from auth_reconciler.altered_routines((
        select m.made::text from auth_reconciler.migration as m order by m.version desc limit 1
    )) as a
    union all
    select a.problem, a.why from auth_reconciler.altered_tables() as a
    union all
    select f.problem, f.why
    from auth_reconciler.table_faults((
        -- As the daemon that leads sees them.
        select a.usesysid
        from pg_locks as l
        join pg_stat_activity as a on a.pid = l.pid
        where l.locktype = 'advisory' and l.granted
            and l.database = (select d.oid from pg_database as d where d.datname = current_database())
            and (l.classid::bigint << 32 | l.objid::bigint) = auth_reconciler.leadership_lock()
        limit 1
    )) as f
$body$;

comment on function auth_reconciler.faults() is
    'What is wrong with the whole rather than with one instance, in words: nobody leads, or who leads does not move, our functions or tables are not as they were made, or a table is not seen as it was watched.';

create or replace view auth_reconciler.problem_details as
select every.id, every.problem, every.age, every.why, every.next, every.since
from (select
    null::uuid as id,
    f.problem,
    null::interval as age,
    f.why,
    case f.problem when 'NobodyLeads' then 'nothing until one is started'
        when 'LeaderSilent' then 'a second one takes over after 30 s, if one stands by'
        when 'ForeignLock' then 'nothing until that session ends' else 'nothing by itself' end as next,
    null::timestamptz as since,
    null::boolean as trouble,
    null::timestamptz as began
from auth_reconciler.faults() as f
-- That one is among the next, which say since when.
where f.problem <> 'LogRefuses'
union all
select
    null,
    o.problem,
    auth_reconciler.age_of(o.since) as age,
    o.detail as why,
    case o.problem when 'LogRefuses' then 'goes on trying; every row is looked at with each echo'
        else 'goes on trying; statuses stay as they are' end as next,
    date_trunc('second', o.since),
    null,
    o.since
from auth_reconciler.own_troubles() as o
union all
select
    i.id,
    what.problem,
    auth_reconciler.age_of(what.since) as age,
    case what.problem
        when 'Paused' then i.message
        when 'Contested' then format(
            'auth_status is %s and should be %s: somebody keeps writing it, see drift',
            coalesce(i.auth_status, 'null'), coalesce(i.verdict, 'left alone'))
        when 'Unanswered' then format('%s for a look; last known: %s',
            case when i.unobserved = 1 then 'a change waits' else i.unobserved || ' changes wait' end,
            coalesce(i.message, 'nothing'))
        when 'Unseen' then 'no look was recorded yet'
        when 'Overwritten' then format(
            'auth_status is %s and should be %s', coalesce(i.auth_status, 'null'), i.verdict)
        else i.auth_status || ': ' || i.message
    end as why,
    auth_reconciler.next_words(i.paused, l.leaderless, i.unobserved > 0, i.contested, i.next_attempt_at) as next,
    date_trunc('second', what.since),
    i.trouble,
    what.since
from auth_reconciler.judged_rows as i
-- Asked once, not for each row.
cross join (select auth_reconciler.nobody_leads() as leaderless offset 0) as l
cross join lateral (
    select
        case
            when i.paused then 'Paused'
            when i.contested then 'Contested'
            when i.unobserved > 0 and (i.unobserved_since < now() - interval '1 minute' or l.leaderless)
                then 'Unanswered'
            when i.looks is null then 'Unseen'
            -- Hands off: what it should be is not for us to say.
            when i.verdict is null then null
            when i.reason = 'Unwritable' then 'Unwritable'
            when i.auth_status is distinct from i.verdict and i.unobserved = 0 then 'Overwritten'
            when i.auth_status is distinct from 'client_ready' then i.reason
        end as problem,
        case when i.unobserved > 0 and not i.paused and not i.contested then i.unobserved_since else i.since end as since
) as what
where i.odd and what.problem is not null) as every
-- What concerns all comes first, what is worst of it at the top. The words are those of problem.rs.
left join (
    values
        (1, 'NobodyLeads'),
        (2, 'LeaderSilent'),
        (3, 'ForeignLock'),
        (4, 'SchemaAltered'),
        (5, 'LogRefuses'),
        (6, 'TableDropped'),
        (7, 'TableReplaced'),
        (8, 'ColumnChanged'),
        (9, 'TriggersMissing'),
        (10, 'ChangesHidden'),
        (11, 'RowsHidden'),
        (12, 'RightsMissing'),
        (13, 'ColumnAdded'),
        (14, 'NotAsked'),
        (15, 'Doubt')
) as general (place, problem) on every.id is null and general.problem = every.problem
order by every.id is not null, general.place nulls last, every.trouble desc, every.began, every.problem, every.why, every.id;

comment on view auth_reconciler.problem_details is
    'What problems shows, each text in one line, with what happens next and since when in columns of their own: for programs and \x.';
comment on column auth_reconciler.problem_details.id is 'The instance; null for what concerns all.';
comment on column auth_reconciler.problem_details.problem is
    'What is wrong, in one word: see problems.';
comment on column auth_reconciler.problem_details.age is 'For how long.';
comment on column auth_reconciler.problem_details.why is 'What is the case and what to do, in words.';
comment on column auth_reconciler.problem_details.next is 'What happens next by itself, in words.';
comment on column auth_reconciler.problem_details.since is 'Since when.';

create or replace view auth_reconciler.problems as
select
    p.id,
    p.problem,
    p.age,
    concat_ws(E'\n', auth_reconciler.fold(p.why, 24), auth_reconciler.fold('next: ' || p.next, 24)) as why
from auth_reconciler.problem_details as p;

comment on view auth_reconciler.problems is
    'What is wrong with the whole (nobody leads, a table is not seen, the daemon is kept from knowing), then what is not ready, contested, paused or stuck: why, for how long, and what happens next. Empty when all is well. Each text in one line, and since when: problem_details.';
comment on column auth_reconciler.problems.id is 'The instance; null for what concerns all.';
comment on column auth_reconciler.problems.problem is
    'NobodyLeads; LeaderSilent (it does not move); ForeignLock (somebody else holds a lock of ours); SchemaAltered (functions, views or tables of ours were dropped, replaced or changed); LogRefuses (changes cannot be written to our log); TableDropped, TableReplaced, ColumnChanged, TriggersMissing, ChangesHidden (by triggers of somebody else), ColumnAdded, RowsHidden, RightsMissing (of a watched table); NotAsked (the daemon lacks something of its own), Doubt (those that were ready are silent and nobody else answers); Paused (by an operator), Contested (two writers), Unanswered (a change waits for longer than a minute, or no daemon leads), Unseen (no look yet), Unwritable (the table refuses the status), Overwritten (the column differs from the verdict), else the reason of the verdict.';
comment on column auth_reconciler.problems.age is 'For how long.';
comment on column auth_reconciler.problems.why is 'What is the case, what to do, and what happens next by itself, in words, broken into lines.';

create or replace view auth_reconciler.backlog as
select b.id, b.changes, b.causes, b.age, b.why, b.since, b.watched_table
from (select
    c.instance_id as id,
    count(*) as changes,
    string_agg(distinct c.cause, ', ' order by c.cause) as causes,
    auth_reconciler.age_of(min(c.changed_at)) as age,
    case
        when bool_or(p.instance_id is not null) then 'paused: answered for without a probe'
        when auth_reconciler.nobody_leads() then 'no daemon leads'
        when max(i.hold_until) > now() and bool_and(c.cause = 'drift') then
            'contested: looked at in ' || date_trunc('second', max(i.hold_until) - now())
        when bool_and(c.put_off) then 'a look could not answer for it, and another one will'
        else 'a look is due'
    end as why,
    min(c.changed_at) as since,
    w.relation as watched_table
from auth_reconciler.change as c
join auth_reconciler.watched_table as w on w.id = c.watched_id
left join auth_reconciler.instance as i on i.watched_id = c.watched_id and i.instance_id = c.instance_id
left join auth_reconciler.pause as p on p.watched_id = c.watched_id and p.instance_id = c.instance_id
group by c.instance_id, w.relation
union all
select
    null,
    null,
    o.work,
    auth_reconciler.age_of(o.since),
    case o.work
        when 'watch' then format('looks at all rows of %s are yet to be queued', o.name)
        when 'resync' then format('looks at all rows of %s are yet to be queued, for a change could not be logged', o.name)
        when 'truncate' then format('looks at what was recorded of %s before it was truncated are yet to be queued', o.name)
        else format('what was recorded of the rows of %s is yet to be removed', o.name)
    end || case when auth_reconciler.nobody_leads() then ': no daemon leads; `auth-reconciler migrate` does it, too'
        else ', piece by piece' end,
    o.since,
    w.relation
from auth_reconciler.owed as o
left join auth_reconciler.watched_table as w on w.id = o.watched_id) as b
order by b.since;

comment on view auth_reconciler.backlog is
    'What waits: changes that no look has answered for, one row per instance, and what watch(), unwatch() and changes that could not be logged left to do. Empty when all is quiet.';
comment on column auth_reconciler.backlog.id is 'The instance; null for what concerns all rows of a table.';
comment on column auth_reconciler.backlog.changes is 'How many of its changes wait; null for what concerns a whole table.';
comment on column auth_reconciler.backlog.causes is 'What changed.';
comment on column auth_reconciler.backlog.age is 'For how long the oldest of them waits.';
comment on column auth_reconciler.backlog.why is 'What they wait for.';
comment on column auth_reconciler.backlog.since is 'When the oldest of them was made.';
comment on column auth_reconciler.backlog.watched_table is 'The table of the row.';

create or replace view auth_reconciler.latency as
select
    m.period,
    coalesce(m.cause, 'all') as cause,
    m.count,
    round(m.percentiles[1]::numeric, 1) as p50_ms,
    round(m.percentiles[2]::numeric, 1) as p95_ms,
    round(m.percentiles[3]::numeric, 1) as p99_ms,
    round(m.slowest::numeric, 1) as max_ms
from (
    -- Each with a bound that the planner knows: taken for far more than there are, they would be compiled first.
    select
        1 as place, 'hour' as period, t.cause, count(*) as count, max(t.reaction_ms) as slowest,
        percentile_disc(array[0.5, 0.95, 0.99]) within group (order by t.reaction_ms) as percentiles
    from auth_reconciler.transition as t
    where t.at > now() - interval '1 hour' and t.watched_id in (select w.id from auth_reconciler.watched_table as w)
    group by grouping sets ((t.cause), ())
    having count(*) > 0
    union all
    select
        2, 'day', t.cause, count(*), max(t.reaction_ms),
        percentile_disc(array[0.5, 0.95, 0.99]) within group (order by t.reaction_ms)
    from auth_reconciler.transition as t
    where t.at > now() - interval '1 day' and t.watched_id in (select w.id from auth_reconciler.watched_table as w)
    group by grouping sets ((t.cause), ())
    having count(*) > 0
) as m
order by m.place, m.cause nulls first;

comment on view auth_reconciler.latency is
    'How fast we are: time from what happened to the commit of the status that it led to, by cause, in the last hour and day. Counts what history still holds.';
comment on column auth_reconciler.latency.period is 'hour: the last one; day: the last 24 hours.';
comment on column auth_reconciler.latency.cause is 'What led to the look, or all.';
comment on column auth_reconciler.latency.count is 'Statuses that moved.';
comment on column auth_reconciler.latency.p50_ms is 'Half of them took at most so many milliseconds.';
comment on column auth_reconciler.latency.p95_ms is '95 of 100 took at most so many.';
comment on column auth_reconciler.latency.p99_ms is '99 of 100 took at most so many.';
comment on column auth_reconciler.latency.max_ms is 'The slowest.';

create or replace view auth_reconciler.history as
select
    h.kept,
    coalesce(c.about, h.rows) as rows,
    auth_reconciler.age_of(h.oldest) as reaches_back,
    pg_size_pretty(pg_total_relation_size(c.oid)) as size,
    pg_total_relation_size(c.oid) as bytes,
    h.oldest
from (
    select
        t.oid,
        -- To count a million rows takes a while: as the planner does, a large table is taken to be as dense as it was
        -- when it was last vacuumed or analyzed.
        case when t.reltuples >= 100000 and t.relpages > 0 then (
            t.reltuples / t.relpages * (pg_relation_size(t.oid) / current_setting('block_size')::bigint)
        )::bigint end as about
    from pg_catalog.pg_class as t
    where t.oid in (
        'auth_reconciler.transition'::regclass, 'auth_reconciler.journal'::regclass,
        'auth_reconciler.change'::regclass, 'auth_reconciler.instance'::regclass)
) as c
cross join lateral (
    select 'transitions' as kept,
        case when c.about is null then (select count(*) from auth_reconciler.transition) end as rows,
        (select min(t.at) from auth_reconciler.transition as t) as oldest
    where c.oid = 'auth_reconciler.transition'::regclass
    union all
    select 'journal', case when c.about is null then (select count(*) from auth_reconciler.journal) end,
        (select min(j.at) from auth_reconciler.journal as j)
    where c.oid = 'auth_reconciler.journal'::regclass
    union all
    select 'unanswered changes', case when c.about is null then (select count(*) from auth_reconciler.change) end,
        (select n.changed_at from auth_reconciler.change as n order by n.id limit 1)
    where c.oid = 'auth_reconciler.change'::regclass
    union all
    select 'instances', case when c.about is null then (select count(*) from auth_reconciler.instance) end,
        (select min(i.recorded_at) from auth_reconciler.instance as i)
    where c.oid = 'auth_reconciler.instance'::regclass
) as h
order by array_position(array['transitions', 'journal', 'unanswered changes', 'instances'], h.kept);

comment on view auth_reconciler.history is
    'How much is kept, how far back, and how large it is on disk. Transitions and journal are bounded by AUTH_RECONCILER_HISTORY_PER_INSTANCE and _MAX_AGE; only unanswered changes grow while no daemon runs.';
comment on column auth_reconciler.history.kept is 'What.';
comment on column auth_reconciler.history.rows is
    'How many rows; from 100,000 on about as many as the server takes them for.';
comment on column auth_reconciler.history.reaches_back is 'Age of the oldest.';
comment on column auth_reconciler.history.size is 'On disk, indexes included, for people.';
comment on column auth_reconciler.history.bytes is 'The same in bytes.';
comment on column auth_reconciler.history.oldest is 'Time of the oldest.';

create or replace view auth_reconciler.tables as
select
    w.relation as watched_table,
    exists (
        select
        from pg_catalog.pg_trigger as t
        where t.tgrelid = w.relation and t.tgname = 'zz_auth_reconciler_guard' and t.tgenabled <> 'D'
    ) as guarded
from auth_reconciler.watched_table as w
-- A table that was dropped leaves its number behind.
where exists (select from pg_catalog.pg_class as c where c.oid = w.relation)
order by w.id;

comment on view auth_reconciler.tables is 'The watched tables.';
comment on column auth_reconciler.tables.watched_table is 'The table.';
comment on column auth_reconciler.tables.guarded is
    'Whether guard is on: a foreign write of auth_status that contradicts a current verdict is put aside.';
