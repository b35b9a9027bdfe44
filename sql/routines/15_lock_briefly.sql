-- How a watched table is locked: whoever changes its schema waits at most 40 ms at a time, because the manager's
-- statements queue behind a waiting lock.

create or replace function auth_reconciler.lock_briefly(relation regclass, mode text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    tries constant integer := 400;
    -- The partitions are locked one after the other, and each may have to be waited for.
    locks constant integer := (
        with recursive tree (oid) as (
            select lock_briefly.relation::oid
            union
            select i.inhrelid from tree as t join pg_catalog.pg_inherits as i on i.inhparent = t.oid
        )
        select count(*) from tree);
    -- Of two who wait for each other, the one gives way first that nobody else depends on.
    wait_ms constant integer := greatest(
        1, least(40 / locks, 250 * extract(epoch from current_setting('deadlock_timeout')::interval)))::integer;
    kept constant text := current_setting('lock_timeout');
begin
    for attempt in 1 .. tries loop
        begin
            perform set_config('lock_timeout', wait_ms::text, true);
            execute format('lock table %s in %s mode', relation, mode);
            perform set_config('lock_timeout', kept, true);
            return;
        exception when lock_not_available then
            perform pg_sleep(0.05 + random() * 0.1);
        end;
    end loop;
    raise exception 'could not lock table % within % tries of % ms', relation, tries, wait_ms
        using errcode = 'lock_not_available',
              hint = 'A long transaction holds the table; see pg_locks, end it or try again later.';
end
$body$;

comment on function auth_reconciler.lock_briefly(regclass, text) is
    'Locks a table for a change of its schema in short tries, so that other writers never queue behind us for long.';
