-- What watch(), unwatch() and a truncated table leave to do, in pieces: each is a transaction of its own, holds no lock that a statement of
-- the manager's waits for, and is lost or done as a whole. The daemon does it, and migrate.

create or replace function auth_reconciler.copy_rows(task auth_reconciler.owed, batch integer) returns uuid[]
language plpgsql
set search_path = pg_catalog, pg_temp
-- Rows that are hidden from whoever calls are an error: they are still owed.
set row_security = off
set enable_seqscan = off
set enable_bitmapscan = off
as $body$
declare
    -- Of a table that was dropped or is no longer watched there is nothing to read; of one whose columns were renamed every
    -- row is looked at when that is undone.
    relation constant text := (
        select w.relation::text
        from auth_reconciler.watched_table as w
        join pg_class as c on c.oid = w.relation
        where w.id = task.watched_id and auth_reconciler.wrong_columns(w.relation, w.has_type_instance) is null
    );
    copied uuid[];
begin
    if relation is null then
        return '{}';
    end if;
    -- What was recorded of a row that is gone by now is looked at as well: its end may have been missed. Of a truncated
    -- table nothing else: what came afterwards is in the log.
    execute format(
        $sql$
        with place as (
            (select id from %1$s where %2$s order by id limit %3$L)
            union
            (
                select instance_id from auth_reconciler.instance
                where watched_id = %4$L::integer and %5$s
                order by instance_id limit %3$L
            )
            order by 1
            limit %3$L
        ),
        logged as (
            insert into auth_reconciler.change (watched_id, instance_id, cause, changed_at)
            select %4$L::integer, id, %6$L, coalesce(%7$L, clock_timestamp()) from place
            returning instance_id
        )
        select coalesce(array_agg(instance_id order by instance_id), '{}') from logged
        $sql$,
        relation,
        case when task.work = 'truncate' then 'false' when task.after_id is null then 'true'
            else format('id > %L', task.after_id) end,
        batch,
        task.watched_id,
        case when task.after_id is null then 'true' else format('instance_id > %L', task.after_id) end,
        task.work,
        case when task.work = 'truncate' then task.since end)
    into copied;
    return copied;
end
$body$;

comment on function auth_reconciler.copy_rows(auth_reconciler.owed, integer) is
    'Logs a change of the next rows of a table that is watched since, or of the next that were recorded of a truncated one; returns which.';

create or replace function auth_reconciler.remove_records(removed_id integer, batch integer) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
as $body$
declare
    name text;
    gone integer;
    removed integer := 0;
begin
    foreach name in array array['change', 'instance', 'transition', 'journal', 'pause'] loop
        execute format(
            'delete from auth_reconciler.%1$I where ctid = any (array(
                select ctid from auth_reconciler.%1$I where watched_id = $1 limit $2))',
            name)
        using removed_id, batch - removed;
        get diagnostics gone = row_count;
        removed := removed + gone;
        exit when removed >= batch;
    end loop;
    return removed;
end
$body$;

comment on function auth_reconciler.remove_records(integer, integer) is
    'Removes so much of what was recorded of a table that is no longer watched; returns how much.';

create or replace function auth_reconciler.work_off(
    owed_id bigint, batch integer, epoch uuid, out outcome text, out watched_id integer, out copied uuid[]
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    task auth_reconciler.owed;
    led_in uuid;
    done integer;
begin
    -- A daemon knows of what it has queued itself; so only the one that leads may do it, and whoever takes over waits
    -- until this transaction has ended, and then reads the log.
    if epoch is not null then
        select l.epoch into led_in from auth_reconciler.leadership as l for share;
        if led_in is distinct from epoch then
            outcome := 'busy';
            return;
        end if;
    end if;
    select * into task from auth_reconciler.owed as o where o.id = owed_id for update skip locked;
    if not found then
        outcome := 'busy';
        return;
    end if;
    watched_id := task.watched_id;
    if task.work <> 'unwatch' then
        copied := auth_reconciler.copy_rows(task, batch);
        done := cardinality(copied);
        update auth_reconciler.owed as o set after_id = copied[done] where o.id = owed_id and done = batch;
        if epoch is null then
            perform pg_notify('auth_reconciler', 'scan');
        end if;
    else
        done := auth_reconciler.remove_records(task.watched_id, batch);
    end if;
    outcome := case when done < batch then 'done' else 'more' end;
    if outcome = 'done' then
        delete from auth_reconciler.owed as o where o.id = owed_id;
    end if;
end
$body$;

comment on function auth_reconciler.work_off(bigint, integer, uuid) is
    'Does a piece of what is owed: at most so many rows, for the daemon of this epoch or, without one, for whoever calls. Outcome: more (is left), done, busy (somebody else is at it, or has done it).';
