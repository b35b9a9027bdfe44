-- By what name, quoted, our schema goes if somebody has renamed it: triggers of watched tables still call its function.
select pg_catalog.quote_ident(n.nspname) as name
from pg_catalog.pg_namespace as n
where n.nspname <> 'auth_reconciler'
    and exists (
        select
        from pg_catalog.pg_proc as p
        join pg_catalog.pg_trigger as t on t.tgfoid = p.oid
        where p.pronamespace = n.oid and p.proname = 'log_change')
    and exists (
        select from pg_catalog.pg_class as c where c.relnamespace = n.oid and c.relname = 'watched_table' and c.relkind = 'r')
order by n.nspname
limit 1
