-- Rights that the daemon's role lacks, each with the statement that grants it. Objects are found by their
-- number: a look-up by name fails where the right to use the schema is what is missing.
with watched as (
    select format('%I.%I', n.nspname, c.relname) as relation, c.oid
    from pg_catalog.pg_class as c
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    where n.nspname = $1::text and c.relname = $2::text
),
ours as (
    select n.oid from pg_catalog.pg_namespace as n where n.nspname = 'auth_reconciler'
),
wanted (privilege, remedy, held) as (
    select format('usage on schema %I', n.nspname),
        format('grant usage on schema %I to %I', n.nspname, current_user),
        has_schema_privilege(current_user, n.oid, 'usage')
    from pg_catalog.pg_namespace as n
    where n.nspname in ('auth_reconciler', $1::text)
    union all
    select format('%s on column %s of %s', needed.act, needed.name, w.relation),
        format('grant %s (%s) on %s to %I', needed.act, needed.name, w.relation, current_user),
        has_column_privilege(current_user, w.oid, a.attnum, needed.act)
    from watched as w
    cross join (
        values ('select', 'id'), ('select', 'provider'), ('select', 'port_api'), ('select', 'api_key'),
            ('select', 'auth_status'), ('select', 'type_instance'), ('update', 'auth_status'),
            ('update', 'updated_at')
    ) as needed (act, name)
    join pg_catalog.pg_attribute as a
        on a.attrelid = w.oid and a.attname = needed.name and a.attnum > 0 and not a.attisdropped
    union all
    select format('%s on auth_reconciler.%s', needed.act, needed.name),
        format('grant %s on auth_reconciler.%s to %I', needed.act, needed.name, current_user),
        has_table_privilege(current_user, c.oid, needed.act)
    from ours
    cross join (
        values ('select', 'watched_table'), ('select', 'change'), ('insert', 'change'), ('delete', 'change'),
            ('select', 'instance'), ('insert', 'instance'), ('update', 'instance'), ('delete', 'instance'),
            ('select', 'transition'), ('insert', 'transition'), ('delete', 'transition'),
            ('select', 'leadership'), ('update', 'leadership'), ('select', 'migration'),
            ('select', 'reconcilers'), ('select', 'status')
    ) as needed (act, name)
    join pg_catalog.pg_class as c on c.relnamespace = ours.oid and c.relname = needed.name
    union all
    select format('execute on function auth_reconciler.%s', p.proname),
        format('grant execute on function %s to %I', p.oid::regprocedure, current_user),
        has_function_privilege(current_user, p.oid, 'execute')
    from ours
    join pg_catalog.pg_proc as p on p.pronamespace = ours.oid
    where p.proname in ('record', 'refusal', 'prune', 'forget', 'take_over', 'leadership_lock',
        'expand_truncations', 'missing_triggers', 'watched_rows')
)
select privilege, remedy from wanted where not held
