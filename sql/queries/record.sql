-- A batch of records on rows of one table ($2), which were read in the epoch $1. A row for each.
select
    r.instance_id,
    auth_reconciler.legible(r.outcome) as outcome,
    auth_reconciler.legible(r.from_status) as from_status,
    r.reaction_ms,
    r.held_ms
from auth_reconciler.record_batch($1, $2, $3::jsonb, $4::jsonb) as r
