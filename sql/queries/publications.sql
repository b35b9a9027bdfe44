-- Publications that take in tables of ours; `new_ones` says whether those that are still to be made, too. A subscriber
-- that lacks such a table stops at the first row of it. Membership of a schema is read from the dependencies, because
-- PostgreSQL 14 has no catalog of it.
select
    p.pubname::text as name,
    case
        when p.puballtables then 'for all tables'
        when of_schema.found then 'for tables in schema auth_reconciler'
        else 'for single tables of schema auth_reconciler'
    end as scope,
    p.puballtables or of_schema.found as new_ones
from pg_catalog.pg_publication as p
cross join lateral (
    select exists (
        select
        from pg_catalog.pg_depend as member
        join pg_catalog.pg_depend as schema on schema.classid = member.classid and schema.objid = member.objid
        where member.refclassid = 'pg_catalog.pg_publication'::pg_catalog.regclass and member.refobjid = p.oid
            and schema.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass
            and schema.refobjid = pg_catalog.to_regnamespace('auth_reconciler')
    ) as found
) as of_schema
where p.puballtables or of_schema.found or exists (
    select
    from pg_catalog.pg_publication_rel as r
    join pg_catalog.pg_class as c on c.oid = r.prrelid
    where r.prpubid = p.oid and c.relnamespace = pg_catalog.to_regnamespace('auth_reconciler')
)
order by p.pubname
