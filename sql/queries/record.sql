select outcome, from_status, reaction_ms
from auth_reconciler.record($1::uuid, $2::uuid, $3::bigint[], $4::jsonb, $5::jsonb)
