-- Answers for rows of one table ($2) that are gone, as was read in the epoch $1. A row for each; none of the table's is locked.
select r.instance_id, r.outcome, null::text as from_status, null::float8 as reaction_ms, 0::float8 as held_ms
from auth_reconciler.forget_batch($1, $2, $3::jsonb) as r
