-- With each echo: reads the catalog only, never a table of the manager's or ours. What was watched is known from the
-- last scan.
select f.problem, f.why
from rows from (
    pg_catalog.unnest($1::oid[]), pg_catalog.unnest($2::text[]), pg_catalog.unnest($3::boolean[]), pg_catalog.unnest($4::boolean[])
) as w (relation, name, assigned, typed)
cross join lateral auth_reconciler.faults_of(
    w.relation, w.name, w.assigned, w.typed, (select r.oid from pg_catalog.pg_roles as r where r.rolname = current_user)
) as f
