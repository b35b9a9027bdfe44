-- Who runs and who leads, from the server's own sessions and locks and the row of the last take-over: no
-- heartbeat, and true when nobody is left to write one.

create or replace function auth_reconciler.stands_still(last_sign timestamptz) returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $body$
    -- Not one statement begun since it was rung for: whoever lives has read it by then. That one has ended since is no sign,
    -- as the server ends it for a process that does not move.
    select exists (
        select
        from auth_reconciler.change as c
        left join auth_reconciler.instance as i on i.watched_id = c.watched_id and i.instance_id = c.instance_id
        where c.watched_id in (select w.id from auth_reconciler.watched_table as w)
            and not c.put_off
            and c.changed_at > stands_still.last_sign
            and c.changed_at < statement_timestamp() - interval '10 s'
            and not (c.cause = 'drift' and coalesce(i.hold_until > statement_timestamp(), false))
    )
$body$;

comment on function auth_reconciler.stands_still(timestamptz) is
    'Whether changes wait that a process whose last statement was then has not read, though it was rung for.';

create or replace function auth_reconciler.our_sessions()
returns table (
    pid integer, backend_start timestamptz, usename name, client_addr inet, query_start timestamptz, kind text,
    version text, host text, process text, leads boolean
)
language sql
stable
set search_path = pg_catalog, pg_temp
as $body$
    select
        a.pid, a.backend_start, a.usename, a.client_addr, a.query_start,
        split_part(a.application_name, ' ', 2),
        split_part(a.application_name, ' ', 3),
        split_part(a.application_name, ' ', 4),
        -- Anybody may call a session so; what is no number is none of ours.
        substring(split_part(a.application_name, ' ', 5) from '^[0-9]{1,9}$'),
        a.application_name like 'auth-reconciler ear %' and exists (
            select
            from pg_locks as l
            where l.pid = a.pid and l.locktype = 'advisory' and l.granted
                and l.database = (select d.oid from pg_database as d where d.datname = current_database())
                and (l.classid::bigint << 32 | l.objid::bigint) = auth_reconciler.leadership_lock()
        )
    from pg_stat_activity as a
    where a.datname = current_database()
        -- Anybody may call a session so, but nobody else may write our tables.
        and has_table_privilege(a.usesysid, 'auth_reconciler.leadership', 'insert')
        and (a.application_name like 'auth-reconciler ear %' or a.application_name like 'auth-reconciler pool %')
$body$;

comment on function auth_reconciler.our_sessions() is
    'Sessions of daemons, by what their names say (kind is ear or pool), and which ear holds the lock of whoever leads.';

create or replace function auth_reconciler.processes()
returns table (
    role text, hears boolean, host text, version text, process integer, since timestamptz, active_since timestamptz,
    term bigint, last_sign timestamptz, pid integer, engine text, engine_since timestamptz, engine_address text,
    engine_detail text, db_user name, client_addr inet, remark text
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $body$
begin
    if pg_is_in_recovery() then
        -- The tables of epoch and engine are unlogged, which a standby cannot read, and the sessions are elsewhere.
        role := 'unknown';
        remark := 'this server is a standby: ask the primary, where the sessions are';
        return next;
        return;
    end if;
    return query
    with session as (
        select * from auth_reconciler.our_sessions()
    ),
    ear as (
        select * from session as s where s.kind = 'ear'
    ),
    pool as (
        select s.host, s.process, s.version, min(s.backend_start) as since, max(s.query_start) as last_sign,
            min(s.usename::text)::name as usename, min(s.client_addr) as client_addr
        from session as s
        where s.kind = 'pool'
        group by s.host, s.process, s.version
    ),
    found as (
        select
            case when e.leads then 'active' else 'standby' end as role,
            case when e.leads then true end as hears,
            e.host, e.version, e.process, e.backend_start as since,
            case when l.pid is not null then l.taken_at end as active_since,
            l.term, p.last_sign, e.pid, l.epoch, e.usename, e.client_addr,
            case when e.leads then concat_ws('; ',
                    case when q.silent then 'hears, but does not answer since ' || date_trunc('second', p.last_sign) else 'leads and hears' end,
                    t.said)
                else 'stands by: takes over when the active one ends' end as remark
        from ear as e
        cross join (select string_agg(o.detail, '; ') as said from auth_reconciler.own_troubles() as o) as t
        left join auth_reconciler.leadership as l
            -- The start of a session is hidden from an owner without pg_read_all_stats.
            on l.pid = e.pid and l.backend_start = coalesce(e.backend_start, l.backend_start) and e.leads
        left join pool as p on p.host = e.host and p.process = e.process
        cross join lateral (select e.leads and auth_reconciler.stands_still(p.last_sign) as silent) as q
        union all
        select
            'half-dead', false, p.host, p.version, p.process, p.since, null, null, p.last_sign, null, null,
            p.usename, p.client_addr,
            'its ear is gone and its other sessions live: it hears nothing and may record nothing; it makes another ear, or restart it'
        from pool as p
        where not exists (select from ear as e where e.host = p.host and e.process = p.process)
        union all
        select
            'dead', false, split_part(l.application, ' ', 4), split_part(l.application, ' ', 3),
            substring(split_part(l.application, ' ', 5) from '^[0-9]{1,9}$'), l.backend_start, l.taken_at, l.term, null, l.pid, null,
            null, null,
            'led last and its session has ended; nobody leads: changes are kept in the log until a daemon is started'
        from auth_reconciler.leadership as l
        where not exists (select from ear as e where e.leads)
            and not exists (select from pool as p where p.process = split_part(l.application, ' ', 5))
        union all
        select
            'foreign', null, null, null, null, l.since, null, null, null, l.pid, null, l.role, l.client_addr, l.why
        from auth_reconciler.foreign_locks() as l
    )
    select
        f.role, f.hears, f.host, f.version, f.process::integer, f.since, f.active_since, f.term, f.last_sign, f.pid,
        case when f.role <> 'active' then null when e.epoch is null then 'unknown' when e.address = 'off' then 'off'
            when e.seen then 'seen' else 'not seen' end,
        e.since, e.address, e.detail, f.usename, f.client_addr, f.remark
    from found as f
    left join auth_reconciler.engine as e on e.epoch = f.epoch
    order by array_position(array['active', 'foreign', 'half-dead', 'dead', 'standby'], f.role), f.since;
end
$body$;

comment on function auth_reconciler.processes() is
    'What the view reconciler_details shows. A function, because a standby could not read a view over unlogged tables.';

create or replace view auth_reconciler.reconciler_details as
select
    p.role, p.hears, p.host, p.version, p.process, p.since, p.active_since, p.term, p.last_sign, p.pid, p.engine,
    p.engine_since, p.engine_address, p.engine_detail, p.db_user, p.client_addr, p.remark
from auth_reconciler.processes() as p;

comment on view auth_reconciler.reconciler_details is
    'Everything that is known of each process, for programs and \x. On a terminal read reconcilers. Who runs and who leads, from the server''s own sessions and locks: no active row, nobody leads; no row at all, nobody has led since the server last recovered from a crash.';
comment on column auth_reconciler.reconciler_details.role is
    'active: leads; standby: waits to lead; half-dead: its ear is gone, its other sessions live; dead: led last, has ended, and nobody leads; foreign: none of ours, and holds a lock of ours; unknown: this server is a standby.';
comment on column auth_reconciler.reconciler_details.hears is
    'Whether its ear is connected; null for a process that stands by and need not hear. That the process behind it moves shows in last_sign.';
comment on column auth_reconciler.reconciler_details.host is 'Host on which it runs.';
comment on column auth_reconciler.reconciler_details.version is 'Its version.';
comment on column auth_reconciler.reconciler_details.process is 'Its number on that host.';
comment on column auth_reconciler.reconciler_details.since is 'Since when its ear (half-dead: its oldest other session) is connected.';
comment on column auth_reconciler.reconciler_details.active_since is 'Since when it leads, or led.';
comment on column auth_reconciler.reconciler_details.term is 'Number of its term.';
comment on column auth_reconciler.reconciler_details.last_sign is
    'When its last statement beside the ear began. While it leads, one echo each AUTH_RECONCILER_ECHO_INTERVAL at least; much older, the process hangs.';
comment on column auth_reconciler.reconciler_details.pid is 'Server process of its ear.';
comment on column auth_reconciler.reconciler_details.engine is
    'Whether the active process sees its container engine: seen, not seen, off, or unknown while it has not said yet.';
comment on column auth_reconciler.reconciler_details.engine_since is 'Since when that is so.';
comment on column auth_reconciler.reconciler_details.engine_address is 'Where it looks for the engine.';
comment on column auth_reconciler.reconciler_details.engine_detail is 'Why the engine is not seen, with what to do.';
comment on column auth_reconciler.reconciler_details.db_user is 'Role with which it is connected.';
comment on column auth_reconciler.reconciler_details.client_addr is 'Address from which it is connected.';
comment on column auth_reconciler.reconciler_details.remark is 'What that means, in words.';

create or replace view auth_reconciler.reconcilers as
select
    p.role,
    p.hears,
    auth_reconciler.fold(p.host, 16) as host,
    p.process,
    auth_reconciler.age_of(p.active_since) as leads_for,
    p.engine,
    auth_reconciler.fold(p.remark, 25) as remark
from auth_reconciler.reconciler_details as p;

comment on view auth_reconciler.reconcilers is
    'Who runs and who leads, from the server''s own sessions and locks: no active row, nobody leads; no row at all, nobody has led since the server last recovered from a crash. More of each in reconciler_details.';
comment on column auth_reconciler.reconcilers.role is
    'active: leads; standby: waits to lead; half-dead: its ear is gone, its other sessions live; dead: led last, has ended, and nobody leads; foreign: none of ours, and holds a lock of ours; unknown: this server is a standby.';
comment on column auth_reconciler.reconcilers.hears is
    'Whether its ear is connected; null for a process that stands by and need not hear.';
comment on column auth_reconciler.reconcilers.host is 'Host on which it runs.';
comment on column auth_reconciler.reconcilers.process is 'Its number on that host.';
comment on column auth_reconciler.reconcilers.engine is
    'Whether the active process sees its container engine: seen, not seen, off, or unknown while it has not said yet.';
comment on column auth_reconciler.reconcilers.remark is 'What that means, in words.';
comment on column auth_reconciler.reconcilers.leads_for is 'For how long it leads; of one that has ended, how long ago it began to lead.';
