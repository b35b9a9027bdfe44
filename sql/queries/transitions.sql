-- Transitions as one JSON array, oldest first: of one instance ($1) or of all, those after $2 and those with the
-- numbers $3, the newest $4 of them.
select coalesce(jsonb_agg(to_jsonb(found) order by found.id), '[]') as transitions
from (
    -- Two walks along the index of numbers: asked for either in one, each of all would be looked at.
    (
        select t.*
        from auth_reconciler.transitions as t
        where ($1::uuid is null or t.instance_id = $1::uuid) and t.id > $2::bigint
        order by t.id desc
        limit $4::bigint
    )
    union all
    (
        select t.*
        from auth_reconciler.transitions as t
        where ($1::uuid is null or t.instance_id = $1::uuid) and t.id = any ($3::bigint[]) and t.id <= $2::bigint
    )
    order by id desc
    limit $4::bigint
) as found
