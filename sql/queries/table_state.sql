-- Whether a table exists, is watched, and which of our triggers it lacks.
select
    c.oid is not null as present,
    w.id is not null as watched,
    case when w.id is null then '{}' else auth_reconciler.missing_triggers(w.relation, w.assigned) end as missing_triggers
from (values ($1::text, $2::text)) as wanted (schema_name, table_name)
left join pg_catalog.pg_namespace as n on n.nspname = wanted.schema_name
left join pg_catalog.pg_class as c on c.relnamespace = n.oid and c.relname = wanted.table_name
left join auth_reconciler.watched_table as w on w.relation = c.oid
