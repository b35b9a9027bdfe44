-- The watched tables. format() quotes the names for read.sql; one that was dropped, or whose columns
-- were renamed, has none and is not served. A column that came after it was watched is read at once, if it may be.
select
    w.id,
    case when c.oid is not null and auth_reconciler.wrong_columns(w.relation, w.has_type_instance) is null
        then format('%I.%I', n.nspname, c.relname) end as relation,
    w.relation::oid as oid,
    w.name,
    w.has_type_instance,
    auth_reconciler.is_typed(w.relation)
        and has_column_privilege(current_user, w.relation, 'type_instance', 'select') as reads_type_instance,
    w.assigned
from auth_reconciler.watched_table as w
left join pg_catalog.pg_class as c on c.oid = w.relation
left join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
order by w.id
