-- The view of the fleet in one screen as one JSON array, trouble first.
select coalesce(
    jsonb_agg(to_jsonb(o) order by o.in_trouble desc, o.instances desc, o.auth_status, o.reason), '[]') as groups
from auth_reconciler.overview as o
