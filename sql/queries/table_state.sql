-- Whether a table exists, is watched, which of our triggers it lacks, why its rows cannot all be seen, and
-- which of its columns are not as they were.
select
    c.oid is not null as present,
    w.id is not null as watched,
    case when w.id is null then '{}' else auth_reconciler.missing_triggers(w.relation, w.assigned) end as missing_triggers,
    (
        select f.why
        from auth_reconciler.faults_of(
            w.relation, w.name, w.assigned, w.has_type_instance,
            (select r.oid from pg_catalog.pg_roles as r where r.rolname = current_user)) as f
        where f.problem = 'RowsHidden'
    ) as rows_hidden,
    (
        select f.why
        from auth_reconciler.faults_of(
            w.relation, w.name, w.assigned, w.has_type_instance,
            (select r.oid from pg_catalog.pg_roles as r where r.rolname = current_user)) as f
        where f.problem = 'ColumnChanged'
    ) as column_changed
from (values ($1::text, $2::text)) as wanted (schema_name, table_name)
left join pg_catalog.pg_namespace as n on n.nspname = wanted.schema_name
left join pg_catalog.pg_class as c on c.relnamespace = n.oid and c.relname = wanted.table_name
left join auth_reconciler.watched_table as w on w.relation = c.oid
