-- Watched tables first, then ours: the order in which everybody locks. One try, which the caller repeats:
-- whatever is locked is let go of before the next, because the manager queues behind it meanwhile.
-- How long is waited, the transaction's settings say.
do $body$
declare
    watched regclass;
begin
    for watched in
        select w.relation
        from auth_reconciler.watched_table as w
        where exists (select from pg_catalog.pg_class as c where c.oid = w.relation)
        order by w.relation::oid
    loop
        execute format('lock table %s in access exclusive mode', watched);
        -- Only the triggers: the rest goes with the schema, without deleting row by row under this lock.
        perform auth_reconciler.detach(watched);
    end loop;
end
$body$;
-- What deploy/grants.sql gave on tables of the manager's, also on those that are no longer watched: nobody else made these
-- two roles, and a login that is left behind must not go on reading keys.
do $body$
declare
    given record;
begin
    for given in
        select c.oid::regclass as relation, n.nspname, r.rolname, acl.privilege_type as act,
            string_agg(format('%I', a.attname), ', ') as columns
        from pg_catalog.pg_roles as r
        join pg_catalog.pg_attribute as a on a.attacl is not null and not a.attisdropped
        cross join lateral aclexplode(a.attacl) as acl
        join pg_catalog.pg_class as c on c.oid = a.attrelid
        join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
        where r.rolname in ('auth_reconciler', 'auth_reconciler_reader') and acl.grantee = r.oid
            and n.nspname <> 'auth_reconciler'
            and exists (
                select from pg_catalog.pg_attribute as k
                where k.attrelid = c.oid and k.attname = 'api_key' and not k.attisdropped
            )
            and (acl.privilege_type, a.attname) in (
                ('SELECT', 'id'), ('SELECT', 'provider'), ('SELECT', 'port_api'), ('SELECT', 'api_key'),
                ('SELECT', 'auth_status'), ('SELECT', 'type_instance'), ('UPDATE', 'auth_status'), ('UPDATE', 'updated_at')
            )
        group by c.oid, n.nspname, r.rolname, acl.privilege_type
    loop
        -- And from whoever has it from that role.
        execute format('revoke %s (%s) on %s from %I cascade', given.act, given.columns, given.relation, given.rolname);
        -- The schema, unless somebody gave the role more in it.
        if not exists (
            select
            from pg_catalog.pg_class as c
            join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
            cross join lateral (
                select acl.grantee from aclexplode(c.relacl) as acl
                union all
                select acl.grantee
                from pg_catalog.pg_attribute as a
                cross join lateral aclexplode(a.attacl) as acl
                where a.attrelid = c.oid
            ) as held
            join pg_catalog.pg_roles as r on r.oid = held.grantee
            where n.nspname = given.nspname and r.rolname = given.rolname
        ) then
            execute format('revoke usage on schema %I from %I cascade', given.nspname, given.rolname);
        end if;
    end loop;
end
$body$;
drop schema auth_reconciler cascade;
-- A daemon that still runs finds out at once rather than with its next echo.
select pg_catalog.pg_notify('auth_reconciler', 'scan');
