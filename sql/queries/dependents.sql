-- What somebody built on our schema or put into it, each as the catalog describes it: it goes with the schema, or it
-- calls what is gone. $1 holds the names of what is ours. Followed as `drop … cascade` follows it, but for what is only
-- a part of something that is named already.
with recursive ours as (
    select n.oid
    from pg_catalog.pg_namespace as n
    where n.nspname = 'auth_reconciler'
),
lost (classid, objid, objsubid) as (
    select 'pg_catalog.pg_namespace'::regclass::oid, ours.oid, 0 from ours
    union
    select next.classid, next.objid, next.objsubid
    from lost
    cross join lateral (
        select d.classid, d.objid, d.objsubid
        from pg_catalog.pg_depend as d
        where d.refclassid = lost.classid and d.refobjid = lost.objid
            and (lost.objsubid = 0 or d.refobjsubid = lost.objsubid) and d.deptype in ('n', 'a', 'i', 'P', 'S')
        union all
        -- The rule of a view takes the view with it.
        select d.refclassid, d.refobjid, d.refobjsubid
        from pg_catalog.pg_depend as d
        where d.classid = lost.classid and d.objid = lost.objid and d.deptype = 'i'
    ) as next
    where next.classid not in (
        'pg_catalog.pg_default_acl'::regclass,
        'pg_catalog.pg_publication_rel'::regclass,
        coalesce(to_regclass('pg_catalog.pg_publication_namespace'), 0::oid::regclass)
    )
),
named as (
    select lost.classid, lost.objid, lost.objsubid
    from lost
    where lost.classid <> 'pg_catalog.pg_namespace'::regclass
        -- Not of our schema, or not a name of ours.
        and not exists (
            select
            from ours
            join pg_catalog.pg_depend as d on d.classid = lost.classid and d.objid = lost.objid
                and d.refclassid = 'pg_catalog.pg_namespace'::regclass and d.refobjid = ours.oid
            where coalesce(
                -- The address of a type is its name in one piece.
                (
                    select t.typname::text
                    from pg_catalog.pg_type as t
                    where lost.classid = 'pg_catalog.pg_type'::regclass and t.oid = lost.objid
                ),
                (pg_identify_object_as_address(lost.classid, lost.objid, 0)).object_names[2]) = any ($1::text[])
        )
        -- Not a part of something that is lost as a whole, unless somebody put it on a table of ours.
        and (
            not exists (
                select
                from pg_catalog.pg_depend as d
                join lost as whole on whole.classid = d.refclassid and whole.objid = d.refobjid
                where d.classid = lost.classid and d.objid = lost.objid and d.deptype in ('a', 'i', 'P', 'S')
                    and whole.objsubid in (0, d.refobjsubid)
            )
            or exists (
                select
                from pg_catalog.pg_trigger as t
                join pg_catalog.pg_class as c on c.oid = t.tgrelid
                join ours on ours.oid = c.relnamespace
                where lost.classid = 'pg_catalog.pg_trigger'::regclass and t.oid = lost.objid and not t.tgisinternal
            )
            or exists (
                select
                from pg_catalog.pg_rewrite as r
                join pg_catalog.pg_class as c on c.oid = r.ev_class
                join ours on ours.oid = c.relnamespace
                where lost.classid = 'pg_catalog.pg_rewrite'::regclass and r.oid = lost.objid and r.rulename <> '_RETURN'
            )
        )
        -- Our triggers on watched tables and their partitions.
        and not exists (
            select
            from pg_catalog.pg_trigger as t
            join pg_catalog.pg_proc as p on p.oid = t.tgfoid
            join ours on ours.oid = p.pronamespace
            where lost.classid = 'pg_catalog.pg_trigger'::regclass and t.oid = lost.objid
                and t.tgname ~ '^(zz_)?auth_reconciler_'
        )
)
select pg_describe_object(named.classid, named.objid, named.objsubid) as name
from named
union
-- A body that is text has no dependencies: it stays, and fails.
select format('function %s (by its text)', p.oid::regprocedure)
from ours
cross join pg_catalog.pg_proc as p
where p.pronamespace <> ours.oid and p.prosrc ~* '\mauth_reconciler"?\s*\.'
order by name
