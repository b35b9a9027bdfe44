-- The watched tables and which of our triggers they lack. format() quotes the names for read.sql; a
-- table that was dropped has none.
select
    w.id,
    case when c.oid is not null then format('%I.%I', n.nspname, c.relname) end as relation,
    w.relation::oid as oid,
    w.has_type_instance,
    w.assigned,
    auth_reconciler.missing_triggers(w.relation, w.assigned) as missing_triggers
from auth_reconciler.watched_table as w
left join pg_catalog.pg_class as c on c.oid = w.relation
left join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
order by w.id
