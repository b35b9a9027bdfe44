-- The same for every table that is watched, at a time when our tables may be read.
select f.problem, f.why
from auth_reconciler.table_faults((select r.oid from pg_catalog.pg_roles as r where r.rolname = current_user)) as f
