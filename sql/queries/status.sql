-- The view of all instances as one JSON array, those in trouble first.
select coalesce(jsonb_agg(to_jsonb(s) order by s.trouble desc, s.since desc nulls last, s.id), '[]') as instances
from auth_reconciler.instances as s
