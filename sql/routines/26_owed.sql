-- What watch(), unwatch(), a truncated table and changes that could not be logged leave to do, in pieces: each is a
-- transaction of its own, holds no lock that a statement of the manager's waits for, and is lost or done as a whole. The
-- daemon does it, and migrate.

create or replace function auth_reconciler.next_rows(task auth_reconciler.owed, batch integer) returns uuid[]
language plpgsql
stable
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
    found_rows uuid[];
begin
    if relation is null then
        return '{}';
    end if;
    -- What was recorded of a row that is gone by now is looked at as well: its end may have been missed. Of a truncated
    -- table nothing else: what came afterwards is in the log.
    execute format(
        $sql$
        select coalesce(array_agg(place.id order by place.id), '{}')
        from (
            (select id from %1$s where %2$s order by id limit %3$L)
            union
            (
                select instance_id from auth_reconciler.instance
                where watched_id = %4$L::integer and %5$s
                order by instance_id limit %3$L
            )
            order by 1
            limit %3$L
        ) as place
        $sql$,
        relation,
        case when task.work = 'truncate' then 'false' when task.after_id is null then 'true'
            else format('id > %L', task.after_id) end,
        batch,
        task.watched_id,
        case when task.after_id is null then 'true' else format('instance_id > %L', task.after_id) end)
    into found_rows;
    return found_rows;
end
$body$;

comment on function auth_reconciler.next_rows(auth_reconciler.owed, integer) is
    'The next rows of a table of which looks are owed, or the next that were recorded of a truncated one.';

create or replace function auth_reconciler.log_rows(task auth_reconciler.owed, ids uuid[], epoch uuid) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
begin
    -- Before a number of the log is drawn, see log_change().
    perform pg_current_xact_id();
    insert into auth_reconciler.change (watched_id, instance_id, cause, changed_at)
    select task.watched_id, place.id, task.work, case when task.work = 'truncate' then task.since else clock_timestamp() end
    from unnest(ids) with ordinality as place (id, number)
    order by place.number;
    return null;
exception
    -- Somebody has the log locked for a moment.
    when lock_not_available or deadlock_detected then
        raise;
    when others then
        -- A daemon looks at these rows all the same. Whoever else calls can do nothing for them.
        if epoch is null then
            raise;
        end if;
        return sqlerrm;
end
$body$;

comment on function auth_reconciler.log_rows(auth_reconciler.owed, uuid[], uuid) is
    'Logs a change of these rows; returns why it could not, if a daemon calls, by its epoch.';

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
    foreach name in array array['change', 'instance', 'transition', 'journal', 'foreign_write', 'pause'] loop
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
    owed_id bigint, batch integer, epoch uuid,
    out outcome text, out watched_id integer, out queued uuid[], out unlogged text
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    task auth_reconciler.owed;
    led_in uuid;
    done integer;
begin
    -- Of looks that could not be logged only the daemon that is told knows; so only the one that leads may do it, and
    -- whoever takes over waits until this transaction has ended, and then reads the log.
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
    if task.work = 'unwatch' then
        done := auth_reconciler.remove_records(task.watched_id, batch);
    else
        if task.told_to is not null and task.told_to is distinct from epoch then
            -- What was told to that process is in no log, and may have ended with it.
            task.told_to := null;
            task.after_id := null;
        end if;
        queued := auth_reconciler.next_rows(task, batch);
        unlogged := auth_reconciler.log_rows(task, queued, epoch);
        done := cardinality(queued);
        task.told_to := case when unlogged is null then task.told_to else epoch end;
        task.after_id := case when done < batch then null else queued[done] end;
        if unlogged is null and done > 0 then
            perform pg_notify('auth_reconciler', 'log');
        end if;
    end if;
    outcome := case
        when done >= batch then 'more'
        -- From the beginning: with the next echo where the log is broken, else at once.
        when task.told_to is not null then 'later'
        when task.again then 'more'
        else 'done'
    end;
    if outcome = 'done' then
        delete from auth_reconciler.owed as o where o.id = owed_id;
    elsif task.work <> 'unwatch' then
        update auth_reconciler.owed as o
        set after_id = task.after_id,
            again = task.again and done >= batch,
            told_to = case when outcome = 'more' then task.told_to end
        where o.id = owed_id;
    end if;
end
$body$;

comment on function auth_reconciler.work_off(bigint, integer, uuid) is
    'Does a piece of what is owed: at most so many rows, for the daemon of this epoch or, without one, for whoever calls. Outcome: more (is left), done, later (it begins anew, for not all looks could be logged: unlogged says why), busy (somebody else is at it, or has done it).';
