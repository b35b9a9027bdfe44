-- What an operator reads. Ages and trouble are computed when asked, so they are true even when no
-- daemon runs.

drop view if exists auth_reconciler.status;
create view auth_reconciler.status as
select
    r.instance_id as id,
    r.provider,
    r.auth_status,
    i.reason,
    i.message,
    i.since,
    i.cause,
    round(i.reaction_ms::numeric, 1) as reaction_ms,
    i.next_attempt_at,
    coalesce(i.trouble_at <= now(), false) as trouble,
    coalesce(i.contested, 0) > 0 as contested,
    i.looks,
    i.recorded_at,
    i.container_state as container,
    i.container_name,
    i.container_started_at,
    (select count(*) from auth_reconciler.change as c
        where c.watched_id = r.watched_id and c.instance_id = r.instance_id) as unobserved,
    w.relation as watched_table
from auth_reconciler.watched_rows() as r
join auth_reconciler.watched_table as w on w.id = r.watched_id
left join auth_reconciler.instance as i
    on i.watched_id = r.watched_id and i.instance_id = r.instance_id;

comment on view auth_reconciler.status is 'One row per instance: its status, why, since when, and what is next.';
comment on column auth_reconciler.status.id is 'The instance.';
comment on column auth_reconciler.status.provider is 'Its provider.';
comment on column auth_reconciler.status.auth_status is 'What the column says now, whoever wrote it.';
comment on column auth_reconciler.status.reason is 'Why, in one word; null before the first look.';
comment on column auth_reconciler.status.message is 'Why, for a person, with what to do.';
comment on column auth_reconciler.status.since is 'Since when status and reason are so.';
comment on column auth_reconciler.status.cause is 'What led to the last look.';
comment on column auth_reconciler.status.reaction_ms is 'Time from that cause to the record, in milliseconds.';
comment on column auth_reconciler.status.next_attempt_at is 'When it is looked at again without an event; null if it is final.';
comment on column auth_reconciler.status.trouble is 'Failed, contested, or waiting for longer than the grace time.';
comment on column auth_reconciler.status.contested is 'Somebody keeps writing wrong values faster than the budget of corrections.';
comment on column auth_reconciler.status.looks is 'Looks recorded so far.';
comment on column auth_reconciler.status.recorded_at is 'When the last look was recorded.';
comment on column auth_reconciler.status.container is
    'State of its container as the last look saw it, in the engine''s words, or removed; null if none was seen.';
comment on column auth_reconciler.status.container_name is 'Name of that container.';
comment on column auth_reconciler.status.container_started_at is 'When that container was last started, by the engine''s clock.';
comment on column auth_reconciler.status.unobserved is 'Changes that no look has answered for yet.';
comment on column auth_reconciler.status.watched_table is 'The table of the row.';

drop view if exists auth_reconciler.transitions;
create view auth_reconciler.transitions as
select
    t.instance_id,
    t.at,
    t.from_status,
    t.to_status,
    t.reason,
    t.cause,
    round(t.reaction_ms::numeric, 1) as reaction_ms,
    t.message,
    w.relation as watched_table
from auth_reconciler.transition as t
join auth_reconciler.watched_table as w on w.id = t.watched_id
order by t.id;

comment on view auth_reconciler.transitions is 'History: each time the status of an instance moved, oldest first.';
comment on column auth_reconciler.transitions.instance_id is 'The instance.';
comment on column auth_reconciler.transitions.at is 'When it was recorded.';
comment on column auth_reconciler.transitions.from_status is 'What the column said before, whoever wrote it.';
comment on column auth_reconciler.transitions.to_status is 'What it says since.';
comment on column auth_reconciler.transitions.reason is 'Why, in one word.';
comment on column auth_reconciler.transitions.cause is 'What led to the look.';
comment on column auth_reconciler.transitions.reaction_ms is 'Time from that cause to the record, in milliseconds.';
comment on column auth_reconciler.transitions.message is 'Why, for a person.';
comment on column auth_reconciler.transitions.watched_table is 'The table of the row.';

drop view if exists auth_reconciler.reconcilers;
create view auth_reconciler.reconcilers as
select
    a.pid,
    case when held.granted then 'active' else 'standby' end as role,
    split_part(a.application_name, ' ', 4) as host,
    split_part(a.application_name, ' ', 3) as version,
    a.backend_start as since,
    case when l.pid is not null then l.taken_at end as active_since,
    l.term,
    case when l.pid is null then null when e.epoch is null then 'unknown' when e.address = 'off' then 'off'
        when e.seen then 'seen' else 'not seen' end as engine,
    e.since as engine_since,
    e.address as engine_address,
    e.detail as engine_detail,
    a.usename as db_user,
    a.client_addr
from pg_catalog.pg_stat_activity as a
left join pg_catalog.pg_locks as held
    on held.pid = a.pid and held.locktype = 'advisory' and held.granted
    and held.database = a.datid
    and (held.classid::bigint << 32 | held.objid::bigint) = auth_reconciler.leadership_lock()
left join auth_reconciler.leadership as l
    -- The start of the session is hidden from roles without pg_read_all_stats.
    on l.pid = a.pid and l.backend_start = coalesce(a.backend_start, l.backend_start) and held.granted
left join auth_reconciler.engine as e on e.epoch = l.epoch
where a.datname = current_database() and a.application_name like 'auth-reconciler ear %'
order by held.granted desc nulls last, a.backend_start;

comment on view auth_reconciler.reconcilers is
    'One row per live process, from the server''s own sessions and locks: no row, nobody runs; no active one, nobody leads.';
comment on column auth_reconciler.reconcilers.pid is 'Server process of its ear.';
comment on column auth_reconciler.reconcilers.role is 'active: holds the leadership lock; standby: waits for it.';
comment on column auth_reconciler.reconcilers.host is 'Host on which it runs.';
comment on column auth_reconciler.reconcilers.version is 'Its version.';
comment on column auth_reconciler.reconcilers.since is 'Since when its ear is connected.';
comment on column auth_reconciler.reconcilers.active_since is 'Since when it leads.';
comment on column auth_reconciler.reconcilers.term is 'Number of its term.';
comment on column auth_reconciler.reconcilers.engine is
    'Whether the active process sees its container engine: seen, not seen, off, or unknown while it has not said yet.';
comment on column auth_reconciler.reconcilers.engine_since is 'Since when that is so.';
comment on column auth_reconciler.reconcilers.engine_address is 'Where it looks for the engine.';
comment on column auth_reconciler.reconcilers.engine_detail is 'Why the engine is not seen, with what to do.';
comment on column auth_reconciler.reconcilers.db_user is 'Role with which it is connected.';
comment on column auth_reconciler.reconcilers.client_addr is 'Address from which it is connected.';
