-- With each echo: reads the catalog only, never a table of the manager's or ours.
select
    watched.relation::oid::regclass::text as relation,
    auth_reconciler.missing_triggers(watched.relation::oid, watched.assigned) as missing_triggers
from unnest($1::oid[], $2::boolean[]) as watched (relation, assigned)
