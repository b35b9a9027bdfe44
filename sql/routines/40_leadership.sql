-- Who leads. The advisory lock is held by the session of the ear and ends with it; the epoch is what
-- keeps a former leader, whose ear is gone and whose pool lives, from recording.

create or replace function auth_reconciler.leadership_lock() returns bigint
language sql
immutable
return 7022647185898824559;

comment on function auth_reconciler.leadership_lock() is
    'Key of the advisory lock that the active process of this database holds.';

create or replace function auth_reconciler.epoch_lock(epoch uuid) returns bigint
language sql
immutable
return hashtextextended('auth_reconciler ' || epoch::text, 0);

comment on function auth_reconciler.epoch_lock(uuid) is
    'Key of the advisory lock that is held for as long as an epoch lasts.';

create or replace function auth_reconciler.take_over(p_epoch uuid) returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    new_term bigint;
begin
    if not exists (
        select
        from pg_catalog.pg_locks as l
        where l.locktype = 'advisory' and l.pid = pg_backend_pid() and l.granted
            and l.database = (select d.oid from pg_catalog.pg_database as d where d.datname = current_database())
            and (l.classid::bigint << 32 | l.objid::bigint) = auth_reconciler.leadership_lock()
    ) then
        raise exception 'this session does not hold the leadership lock'
            using errcode = 'object_not_in_prerequisite_state';
    end if;
    perform auth_reconciler.hold_sleeper_lock();
    -- Held as long as this session lives: who must know whether the epoch still stands, and may not trust
    -- its snapshot, asks for this lock.
    perform pg_advisory_lock(auth_reconciler.epoch_lock(p_epoch));
    -- The gate, alone: whatever is recorded in an older epoch is committed before, and nothing after.
    lock table auth_reconciler.leadership in exclusive mode;
    insert into auth_reconciler.leadership as l (epoch, term, pid, backend_start, taken_at, application)
    select p_epoch, 1, a.pid, a.backend_start, clock_timestamp(), a.application_name
    from pg_catalog.pg_stat_activity as a where a.pid = pg_backend_pid()
    on conflict on constraint leadership_pkey do update
        set epoch = excluded.epoch,
            term = l.term + 1,
            pid = excluded.pid,
            backend_start = excluded.backend_start,
            taken_at = excluded.taken_at,
            application = excluded.application
    returning l.term into new_term;
    return new_term;
end
$body$;

comment on function auth_reconciler.take_over(uuid) is
    'Begins a new epoch for the session that holds the leadership lock; returns the number of the term.';

create or replace function auth_reconciler.expand_truncations() returns bigint
language sql
set search_path = pg_catalog, pg_temp
as $body$
    with truncation as (
        -- Per table, along the index: the log may be large.
        delete from auth_reconciler.change as c
        using auth_reconciler.watched_table as w
        where c.watched_id = w.id and c.instance_id is null
        returning c.watched_id, c.changed_at
    ),
    owed as (
        insert into auth_reconciler.owed (watched_id, name, work, since)
        select t.watched_id, coalesce(w.name, w.relation::text), 'truncate', min(t.changed_at)
        from truncation as t
        join auth_reconciler.watched_table as w on w.id = t.watched_id
        group by t.watched_id, w.name, w.relation
        returning 1
    )
    select count(*) from owed
$body$;

comment on function auth_reconciler.expand_truncations() is
    'Takes the change of a truncated table out of the log: one for each instance that was recorded of it is owed, see work_off().';
