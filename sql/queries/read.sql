-- One look's facts, in one statement and so of one moment: the watched row, its changes, and what
-- was recorded. {relation}, {oid} and {serves_api} are filled in per watched table.
select
    clock_timestamp() as now,
    w.id is not null as present,
    pg_catalog.row_security_active({oid}::oid) as filtered,
    auth_reconciler.legible(w.provider::text) as provider,
    -- One of bytes that are no text can be in no header: it is passed on as a key that cannot, and nothing of it leaves.
    case when auth_reconciler.legible(w.api_key::text) = w.api_key::text then w.api_key::text
        when w.api_key is not null then pg_catalog.chr(1) end as api_key,
    w.port_api::bigint as port_api,
    -- What guard has put aside was written all the same: what it is worth is decided by the look.
    auth_reconciler.legible(coalesce(c.put_aside, w.auth_status::text)) as auth_status,
    c.put_aside is not null as put_aside,
    {serves_api} as serves_api,
    coalesce(c.ids, '{}') as change_ids,
    coalesce(c.causes, '{}') as change_causes,
    coalesce(c.times, '{}') as change_times,
    greatest(i.generation, c.last, 0) as generation,
    i.version,
    i.auth_status as recorded_status,
    i.reason as recorded_reason,
    i.ready_at,
    i.started_at,
    i.account_at,
    i.attempts,
    i.misses,
    i.first_miss_at,
    i.established,
    i.corrections_spent,
    i.corrections_since,
    i.contested,
    i.hold_until,
    i.foreign_at,
    i.next_attempt_at,
    i.recorded_at,
    i.container_engine,
    i.container_id,
    i.container_name,
    i.container_state,
    i.container_started_at,
    i.container_network,
    auth_reconciler.legible(p.paused_by || ': ' || p.reason) as paused
from (values ($1::integer, $2::uuid)) as wanted (watched_id, instance_id)
left join {relation} as w on w.id = wanted.instance_id
left join auth_reconciler.instance as i
    on i.watched_id = wanted.watched_id and i.instance_id = wanted.instance_id
left join auth_reconciler.pause as p
    on p.watched_id = wanted.watched_id and p.instance_id = wanted.instance_id
left join lateral (
    select
        array_agg(change.id order by change.id) as ids,
        array_agg(change.cause order by change.id) as causes,
        array_agg(change.changed_at order by change.id) as times,
        max(change.id) as last,
        (array_agg(case when change.kept then change.to_status end order by change.id desc)
            filter (where change.cause = 'drift'))[1] as put_aside
    from auth_reconciler.change
    where change.watched_id = wanted.watched_id and change.instance_id = wanted.instance_id
) as c on true
