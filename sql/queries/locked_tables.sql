-- Of these tables ($1) those that cannot be used at present, told without waiting: somebody holds, or waits for, a lock of
-- one of these modes ($2) on the table, on a part of it or on an index of either, which keeps us out.
with recursive locked (relation) as (
    select coalesce(x.indrelid, l.relation)
    from pg_locks as l
    left join pg_index as x on x.indexrelid = l.relation
    where l.locktype = 'relation' and l.mode = any ($2::text[])
        and l.database = (select d.oid from pg_database as d where d.datname = current_database())
    union
    select i.inhparent
    from locked as k
    join pg_inherits as i on i.inhrelid = k.relation
)
select k.relation
from locked as k
where k.relation = any ($1::oid[])
