select version, coalesce(routines, '') as routines
from auth_reconciler.migration
order by version desc
limit 1
