-- The facts of any number of looks at rows of one watched table, in one statement and so of one moment: the watched row,
-- its changes, and what was recorded. A row for each id of $2, with its place among them; and, where the log is read as well,
-- for what it brings, see wanted.sql. What stands in braces is filled in, per watched table.
select
    wanted.*,
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
    w.serves_api,
    coalesce(c.ids, '{}') as change_ids,
    coalesce(c.causes, '{}') as change_causes,
    coalesce(c.times, '{}') as change_times,
    coalesce(c.put_off, '{}') as put_off_ids,
    greatest(i.generation, c.last, 0) as generation,
    -- The message is for people, and may name a table in bytes that are no text.
    (pg_catalog.to_jsonb(i) - 'message')::text as recorded,
    auth_reconciler.legible(p.paused_by || ': ' || p.reason) as paused
from {wanted}
-- By offset 0 each is looked up for itself: a join that was planned while the tables were small would read all of them
-- when they have grown.
left join lateral (
    select w.id, w.provider, w.api_key, w.port_api, w.auth_status, {serves_api} as serves_api
    from {relation} as w
    -- What the log has brought may be nothing: then the table is left alone.
    where wanted.instance_id is not null and w.id = wanted.instance_id
    offset 0
) as w on true
left join lateral (
    select r.*
    from auth_reconciler.instance as r
    where r.watched_id = $1::integer and r.instance_id = wanted.instance_id
    offset 0
) as i on true
left join lateral (
    select r.paused_by, r.reason
    from auth_reconciler.pause as r
    where r.watched_id = $1::integer and r.instance_id = wanted.instance_id
    offset 0
) as p on true
left join lateral (
    select
        array_agg(change.id order by change.id) as ids,
        array_agg(change.cause order by change.id) as causes,
        array_agg(change.changed_at order by change.id) as times,
        array_agg(change.id order by change.id) filter (where change.put_off) as put_off,
        max(change.id) as last,
        (array_agg(case when change.kept then change.to_status end order by change.id desc)
            filter (where change.cause = 'drift'))[1] as put_aside
    from auth_reconciler.change
    where change.watched_id = $1::integer and change.instance_id = wanted.instance_id
) as c on true
