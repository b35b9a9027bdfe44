-- Roles that hold something here because of us: those of deploy/grants.sql, and whoever was granted a right on our
-- schema. `reads` names the tables whose api_key the role may still read through a right of its own.
with ours as (
    select n.oid, n.nspowner, n.nspacl from pg_catalog.pg_namespace as n where n.nspname = 'auth_reconciler'
),
grantee as (
    select acl.grantee as oid
    from ours cross join lateral aclexplode(ours.nspacl) as acl
    where acl.grantee <> ours.nspowner
    union
    select acl.grantee
    from ours
    join pg_catalog.pg_class as c on c.relnamespace = ours.oid
    cross join lateral aclexplode(c.relacl) as acl
    where acl.grantee <> c.relowner
    union
    select r.oid from pg_catalog.pg_roles as r where r.rolname in ('auth_reconciler', 'auth_reconciler_reader')
)
select r.rolname::text as name, r.rolcanlogin as login
from grantee
join pg_catalog.pg_roles as r on r.oid = grantee.oid
order by 1
