-- Which functions this transaction has made, before anything else changes their rows in the catalog: one of a name of ours
-- that is not among them is somebody else's.

select set_config(
    'auth_reconciler.made_functions',
    array_agg(format('function %s(%s)', p.proname, oidvectortypes(p.proargtypes)))::text,
    true)
from pg_catalog.pg_proc as p
where p.pronamespace = 'auth_reconciler'::regnamespace and p.xmin = pg_current_xact_id()::xid;

-- Nobody but the owner calls anything here, unless it is granted.

revoke all on schema auth_reconciler from public;
revoke all on all functions in schema auth_reconciler from public;
