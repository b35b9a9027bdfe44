-- Any role may take any advisory lock. Whoever holds one of ours and is not ours is named. Ours is who says so by its name
-- and may write our tables: a name alone anybody may bear.

create or replace function auth_reconciler.holders_of_locks()
returns table (lock text, pid integer, keys bigint)
language sql
stable
set search_path = pg_catalog, pg_temp
as $body$
    with held as (
        select l.pid, l.classid, l.objid, l.objsubid, l.mode, l.classid::bigint << 32 | l.objid::bigint as single
        from pg_locks as l
        where l.locktype = 'advisory' and l.granted
            and l.database = (select d.oid from pg_database as d where d.datname = current_database())
    )
    select 'leadership', h.pid, 1::bigint
    from held as h
    where h.objsubid = 1 and h.single = auth_reconciler.leadership_lock()
    union all
    select 'key', h.pid, count(*)
    from held as h
    where h.objsubid = 2 and h.classid = auth_reconciler.key_class()::oid
    group by h.pid
    union all
    select 'epoch', h.pid, 1
    from auth_reconciler.leadership as l
    join held as h on h.objsubid = 1 and h.single = auth_reconciler.epoch_lock(l.epoch)
    where h.pid is distinct from l.pid
    union all
    select distinct
        case h.objid::integer
            when auth_reconciler.prune_lock() then 'prune'
            when auth_reconciler.reader_lock() then 'reader'
            when auth_reconciler.silent_lock() then 'silent'
            when auth_reconciler.sleeper_lock() then 'sleeper'
            else 'watch'
        end,
        h.pid, 1
    from held as h
    where h.objsubid = 2 and h.classid = auth_reconciler.bell_class()::oid
        and (
            h.objid::integer in (
                auth_reconciler.prune_lock(), auth_reconciler.silent_record_lock(), auth_reconciler.reader_lock(),
                auth_reconciler.silent_lock(), auth_reconciler.sleeper_lock())
            -- Those who watch share it for as long as they do.
            or h.objid::integer = auth_reconciler.watch_lock() and h.mode = 'ExclusiveLock')
$body$;

comment on function auth_reconciler.holders_of_locks() is
    'Which sessions hold which of our advisory locks (of instances: how many), whoever they are, but for the epoch''s lock in the hands of the session that leads and the one that all who watch share.';

create or replace function auth_reconciler.foreign_locks()
returns table (lock text, pid integer, role name, application text, client_addr inet, since timestamptz, why text)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $body$
begin
    if pg_is_in_recovery() then
        return;
    end if;
    return query
    select
        o.lock, a.pid, a.usename, a.application_name, a.client_addr, a.backend_start,
        format(
            'session %s of role %s (application %s) holds %s and is none of ours: %s; end it with select pg_terminate_backend(%s)',
            a.pid, coalesce(a.usename, 'unknown'), coalesce(quote_literal(nullif(left(a.application_name, 63), '')), 'without a name'),
            case o.lock
                when 'leadership' then 'the lock of whoever leads'
                when 'epoch' then 'the lock of the last term'
                when 'prune' then 'the lock of whoever prunes history'
                when 'watch' then 'a lock of those who watch'
                when 'reader' then 'the lock of whoever reads the change log'
                when 'silent' then 'the lock of changes that need not ring'
                when 'sleeper' then 'the lock of whoever has to be rung for'
                else case when o.keys = 1 then 'the lock of an instance' else format('the locks of %s instances', o.keys) end
            end,
            case o.lock
                when 'leadership' then 'no daemon can lead'
                when 'epoch' then 'guard takes a daemon that has ended for one that lives'
                when 'prune' then 'history outlives its maximum age'
                when 'watch' then 'the command watch waits, and records ring for nobody'
                when 'reader' then 'each write of the manager''s has to ring'
                when 'silent' then 'each write of the manager''s has to ring'
                when 'sleeper' then 'each write of the manager''s has to ring'
                else 'nothing is recorded of what it locks'
            end,
            a.pid)
    from auth_reconciler.holders_of_locks() as o
    join pg_stat_activity as a on a.pid = o.pid
    where not (
            a.application_name like case o.lock when 'leadership' then 'auth-reconciler ear %' else 'auth-reconciler %' end
            and has_table_privilege(a.usesysid, 'auth_reconciler.leadership', 'insert')
        )
        -- An action of an operator's holds one for a moment, as a record does.
        -- Whoever commits in silence shares one until then.
        and (o.lock <> 'silent' or a.xact_start is null)
        and (o.lock = 'leadership' or coalesce(a.xact_start, a.backend_start) < clock_timestamp() - interval '2 s')
    order by o.lock = 'leadership' desc, a.pid, o.lock;
end
$body$;

comment on function auth_reconciler.foreign_locks() is
    'Sessions that hold the lock of whoever leads, or another one of ours for longer than a moment, and are none of ours: who they are and what that keeps from being done. Part of the views problems and reconcilers.';
