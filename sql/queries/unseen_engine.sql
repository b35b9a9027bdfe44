-- The engine of the process that leads, where that process does not see it.
select r.engine_address, r.engine_since, r.engine_detail
from auth_reconciler.reconciler_details as r
where r.role = 'active' and r.engine = 'not seen'
limit 1
