-- Any role may take any advisory lock. Whoever holds one of ours and is not ours is named.

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
        held.lock, a.pid, a.usename, a.application_name, a.client_addr, a.backend_start,
        format(
            'session %s of role %s (application %s) holds %s and is none of ours: %s; end it with select pg_terminate_backend(%s)',
            a.pid, coalesce(a.usename, 'unknown'), coalesce(quote_literal(nullif(left(a.application_name, 63), '')), 'without a name'),
            case when held.lock = 'leadership' then 'the lock of whoever leads'
                when held.keys = 1 then 'the lock of an instance' else format('the locks of %s instances', held.keys) end,
            case held.lock when 'leadership' then 'no daemon can lead' else 'nothing is recorded of what it locks' end,
            a.pid)
    from (
        select 'leadership' as lock, l.pid, 1::bigint as keys
        from pg_locks as l
        where l.locktype = 'advisory' and l.granted and l.objsubid = 1
            and l.database = (select d.oid from pg_database as d where d.datname = current_database())
            and (l.classid::bigint << 32 | l.objid::bigint) = auth_reconciler.leadership_lock()
        union all
        select 'key', l.pid, count(*)
        from pg_locks as l
        where l.locktype = 'advisory' and l.granted and l.objsubid = 2
            and l.database = (select d.oid from pg_database as d where d.datname = current_database())
            and l.classid = auth_reconciler.key_class()::oid
        group by l.pid
    ) as held
    join pg_stat_activity as a on a.pid = held.pid
    where case held.lock
        when 'leadership' then a.application_name not like 'auth-reconciler ear %'
        -- An action of an operator's holds one for a moment, as a record does.
        else a.application_name not like 'auth-reconciler %'
            and coalesce(a.xact_start, a.backend_start) < clock_timestamp() - interval '2 s'
        end
    order by held.lock = 'leadership' desc, a.pid;
end
$body$;

comment on function auth_reconciler.foreign_locks() is
    'Sessions that hold the lock of whoever leads, or locks of instances for longer than a moment, and are none of ours: who they are and what that keeps from being done. Part of the views problems and reconcilers.';
