-- Where views or functions must be dropped to be made anew, what was granted on them would go with them. Kept for the length of
-- this transaction, in a setting because a temporary table would leave a trace in the catalog, and given
-- back by the last of these files. Rights on columns of views are kept, too.

select set_config('auth_reconciler.kept_grants', coalesce(jsonb_agg(g), '[]')::text, true)
from (
    select c.relname as name, null::text as part, acl.grantee, acl.privilege_type as privilege, acl.is_grantable
    from pg_catalog.pg_class as c
    cross join lateral aclexplode(c.relacl) as acl
    where c.relnamespace = 'auth_reconciler'::regnamespace and c.relkind = 'v' and acl.grantee <> c.relowner
    union all
    select c.relname, a.attname, acl.grantee, acl.privilege_type, acl.is_grantable
    from pg_catalog.pg_class as c
    join pg_catalog.pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    cross join lateral aclexplode(a.attacl) as acl
    where c.relnamespace = 'auth_reconciler'::regnamespace and c.relkind = 'v' and acl.grantee <> c.relowner
    union all
    select p.proname, p.oid::regprocedure::text, acl.grantee, 'routine', acl.is_grantable
    from pg_catalog.pg_proc as p
    cross join lateral aclexplode(p.proacl) as acl
    -- Nothing of ours is everybody's.
    where p.pronamespace = 'auth_reconciler'::regnamespace and acl.grantee not in (p.proowner, 0)
) as g;
