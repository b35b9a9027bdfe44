-- Of these tables ($1) those that nobody can read at present, told without waiting: somebody holds, or waits for, a lock
-- on the table, on a part of it or on an index of either that keeps everybody else out.
with recursive locked (relation) as (
    select coalesce(x.indrelid, l.relation)
    from pg_locks as l
    left join pg_index as x on x.indexrelid = l.relation
    where l.locktype = 'relation' and l.mode = 'AccessExclusiveLock'
        and l.database = (select d.oid from pg_database as d where d.datname = current_database())
    union
    select i.inhparent
    from locked as k
    join pg_inherits as i on i.inhrelid = k.relation
)
select k.relation
from locked as k
where k.relation = any ($1::oid[])
