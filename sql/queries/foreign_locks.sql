-- With each echo: who holds a lock of ours and is none of ours, as the view problems says it. No table is read while none
-- but ours hold advisory locks.
select 'ForeignLock' as problem, f.why
from auth_reconciler.foreign_locks() as f
where exists (
    select
    from pg_catalog.pg_locks as l
    join pg_catalog.pg_database as d on d.oid = l.database and d.datname = current_database()
    left join pg_catalog.pg_stat_activity as a on a.pid = l.pid
    where l.locktype = 'advisory' and l.granted and (
        a.application_name like 'auth-reconciler %'
        and has_table_privilege(a.usesysid, 'auth_reconciler.leadership', 'insert')) is not true
)
