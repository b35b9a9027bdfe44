-- The daemons of one host ($1), or the one with this process number ($2), from the server's own sessions and locks: which
-- of them listens, leads or waits to lead, and how long ago the last statement of each began. A role is always shown its
-- own sessions whole, and the daemon's are of the role that asks. Without functions of our schema, which may be of another
-- version or not made yet.
with session as (
    select
        split_part(a.application_name, ' ', 2) as kind,
        split_part(a.application_name, ' ', 3) as version,
        split_part(a.application_name, ' ', 5) as process,
        a.query_start,
        exists (
            select
            from pg_catalog.pg_locks as l
            where l.pid = a.pid and l.locktype = 'advisory' and l.granted
                and l.database = (select d.oid from pg_catalog.pg_database as d where d.datname = current_database())
                and (l.classid::bigint << 32 | l.objid::bigint) = 7022647185898824559
        ) as leads
    from pg_catalog.pg_stat_activity as a
    where a.datname = current_database()
        and (a.application_name like 'auth-reconciler ear %' or a.application_name like 'auth-reconciler pool %')
        and split_part(a.application_name, ' ', 4) = $1
        -- Anybody may call a session so, but nobody else may write our tables.
        and has_table_privilege(a.usesysid, to_regclass('auth_reconciler.leadership'), 'insert')
)
select
    s.process,
    max(s.version) as version,
    bool_or(s.kind = 'ear') as listens,
    bool_or(s.kind = 'ear' and s.leads) as leads,
    extract(epoch from statement_timestamp() - max(s.query_start))::double precision as silent_for
from session as s
where $2::text is null or s.process = $2
group by s.process
order by leads desc, listens desc, silent_for
