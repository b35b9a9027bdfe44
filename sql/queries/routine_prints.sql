    -- Nothing in the first word of a print is a number of an object: those are others after a dump and a restore, or an
    -- upgrade of the server. A body that the server keeps as it has understood it is full of them, so it stands apart, with
    -- the place where it means something.
    select
        format('function %s(%s)', p.proname, oidvectortypes(p.proargtypes)) as name,
        concat_ws(
            ' ',
            md5(concat_ws(
                '/', l.lanname, p.prokind, p.prosecdef, p.provolatile, p.pronargs, p.proargnames, p.proconfig, p.prosrc,
                pg_get_function_result(p.oid))),
            case when p.prosqlbody is not null then
                format('%s.%s', current_setting('server_version_num')::integer / 10000, n.oid)
            end,
            md5(p.prosqlbody::text)) as print
    from pg_catalog.pg_proc as p
    join pg_catalog.pg_namespace as n on n.oid = p.pronamespace
    join pg_catalog.pg_language as l on l.oid = p.prolang
    where n.nspname = 'auth_reconciler'
    union all
    -- Of a view its columns, and its text in the same way.
    select
        'view ' || c.relname,
        concat_ws(
            ' ',
            (
                select md5(string_agg(a.attname, ',' order by a.attnum))
                from pg_catalog.pg_attribute as a
                where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
            ),
            format('%s.%s', current_setting('server_version_num')::integer / 10000, n.oid),
            md5(r.ev_action::text))
    from pg_catalog.pg_class as c
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    join pg_catalog.pg_rewrite as r on r.ev_class = c.oid and r.rulename = '_RETURN'
    where n.nspname = 'auth_reconciler' and c.relkind = 'v'
