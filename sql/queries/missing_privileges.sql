-- Rights that the daemon's role lacks, each with the statement that grants it.
with watched as (
    select format('%I.%I', n.nspname, c.relname) as relation, c.oid
    from pg_catalog.pg_class as c
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    where n.nspname = $1::text and c.relname = $2::text
),
wanted (privilege, remedy, held) as (
    select format('%s on column %s of %s', needed.act, needed.name, w.relation),
        format('grant %s (%s) on %s to %I', needed.act, needed.name, w.relation, current_user),
        has_column_privilege(current_user, w.oid, needed.name, needed.act)
    from watched as w,
        (values ('select', 'id'), ('select', 'provider'), ('select', 'port_api'), ('select', 'api_key'),
            ('select', 'auth_status'), ('update', 'auth_status'), ('update', 'updated_at')) as needed (act, name)
    union all
    select format('%s on table auth_reconciler.%s', needed.act, needed.name),
        format('grant %s on auth_reconciler.%s to %I', needed.act, needed.name, current_user),
        has_table_privilege(current_user, 'auth_reconciler.' || needed.name, needed.act)
    from (
        values ('select', 'watched_table'), ('select', 'change'), ('insert', 'change'), ('delete', 'change'),
            ('select', 'instance'), ('insert', 'instance'), ('update', 'instance'), ('delete', 'instance'),
            ('select', 'transition'), ('insert', 'transition'), ('delete', 'transition'),
            ('select', 'leadership'), ('update', 'leadership'), ('select', 'migration')
    ) as needed (act, name)
)
select privilege, remedy from wanted where not held
