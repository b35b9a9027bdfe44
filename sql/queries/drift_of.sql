-- Foreign writes of auth_status of these instances since then, as one JSON array, oldest first.
select coalesce(jsonb_agg(to_jsonb(d) order by d.last_at), '[]') as drift
from auth_reconciler.drift_details as d
where d.id = any ($1::uuid[]) and d.last_at >= $2::timestamptz
