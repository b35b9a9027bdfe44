    -- Nothing in it is a number of an object: those are others after a dump and a restore, or an upgrade of the server.
    select 'function ' || p.proname as name, md5(string_agg(one.print, ',' order by one.print)) as print
    from pg_catalog.pg_proc as p
    join pg_catalog.pg_namespace as n on n.oid = p.pronamespace
    join pg_catalog.pg_language as l on l.oid = p.prolang
    cross join lateral (
        select md5(concat_ws(
            '/', l.lanname, p.prokind, p.prosecdef, p.provolatile, p.pronargs, p.proargnames, p.proconfig, p.prosrc)) as print
    ) as one
    where n.nspname = 'auth_reconciler'
    group by p.proname
    union all
    -- Of a view what it shows, not how: the server writes its definition anew in each of its versions.
    select 'view ' || c.relname, md5(string_agg(a.attname, ',' order by a.attnum))
    from pg_catalog.pg_class as c
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    join pg_catalog.pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    where n.nspname = 'auth_reconciler' and c.relkind = 'v'
    group by c.relname
