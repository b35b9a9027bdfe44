-- guard: the database itself keeps a verdict that is current. Off unless an operator calls guard().
--
-- It stands in the manager's statement, so it must never fail it, never wait, and keep nothing that might
-- be outdated: whenever in doubt it lets the write through, and correcting follows. Why what it reads is
-- enough, though its snapshot may be old:
--
-- * The row. A BEFORE trigger runs with the row locked and sees its newest version (a REPEATABLE READ
--   statement whose snapshot is older than that version has failed already, with us or without). So no
--   other transaction has changed a fact of it unseen: a fact that was changed before is committed, was
--   committed before our snapshot, and its change is in the log that we read, unless it was answered for.
--   One that this transaction changed is in the log as well, one that this statement changes is in WHEN.
-- * The verdict. In READ COMMITTED the snapshot is taken after the lock. A record that would write the
--   column needs that lock; one that does not, commits before our snapshot or after our statement. In
--   REPEATABLE READ it is locked for a moment, which fails if it is not the newest, and lets the write through.
-- * Whether the daemon lives and leads. Never from a table: its session holds a lock for its epoch.
-- * Whether it still answers. A write that was put aside asks for a look; if none has answered for it within a few
--   seconds, the next one goes through, and from then on all do until a look has answered. A look that finds no
--   answer gives back what was put aside.
-- * Whether it knows. In a doubt it is as if it were not there. That it doubts is read as of the snapshot, so one that
--   is old keeps nothing.
-- * What stands behind the verdict: an answer, the engine's word, or the row itself. Never a bad value over a good one
--   that somebody else wrote, for that is looked at first; never over a word that is no status of ours.
-- * SERIALIZABLE writers are let through: reading a log into which others insert is what makes them fail.

create or replace function auth_reconciler.keep_status() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
-- A plan that was made while the log was empty would read all of it for each row of a statement that fills it.
set enable_seqscan = off
as $body$
declare
    watched constant integer := tg_argv[0]::integer;
    -- As in log_change(): only the first line of a transaction is written in a block with EXCEPTION, and rings with its
    -- key; and there is an id before a number of the log is drawn.
    this_transaction constant text := pg_current_xact_id()::text;
    noted text;
    -- A look takes milliseconds; one that waits for an API that hangs knows no better than the writer.
    patience constant interval := '5 s';
    word text;
    acting text;
    written_by text;
    from_value text;
    to_value text;
    isolation text;
    recorded_in uuid;
    touched boolean;
    bad constant text[] := array['pending', 'failed'];
    good constant text[] := array['qr_ready', 'authenticated', 'client_ready'];
    came constant record := new;
begin
    begin
        noted := current_setting(auth_reconciler.noted_in(), true);
        if noted = this_transaction || ' cannot' then
            return new;
        end if;
        acting := current_setting('role');
        written_by := session_user || case when acting in ('none', session_user) then '' else ' as ' || acting end;
        isolation := current_setting('transaction_isolation');
        if isolation = 'serializable' or auth_reconciler.is_ours(watched, new.id, new.auth_status::text) then
            return new;
        end if;
        if isolation <> 'read committed' and transaction_timestamp() < clock_timestamp() - patience then
            return new;
        end if;
        from_value := left(old.auth_status, 64);
        to_value := left(new.auth_status, 64);
        select i.epoch, i.xmax::text <> '0' into recorded_in, touched
        from auth_reconciler.instance as i
        where i.watched_id = watched and i.instance_id = new.id
            -- Without an epoch it was taken back, by a pause.
            and i.final and i.epoch is not null and i.auth_status = old.auth_status::text
            and i.established
            and (new.auth_status::text = any (bad) or new.auth_status::text = any (good) and i.auth_status = any (good))
            and not exists (
                select from auth_reconciler.own_trouble as o where o.problem = 'Doubt' and o.epoch = i.epoch
            )
            -- What was put aside before is no news. But somebody must have looked at it by now: a daemon that leads
            -- and does not move would hide the truth for ever.
            and not exists (
                select
                from auth_reconciler.change as c
                where c.watched_id = watched and c.instance_id = new.id
                    and (c.kept is not true or c.changed_at < clock_timestamp() - patience)
            );
        if not found then
            return new;
        end if;
        if pg_try_advisory_lock_shared(auth_reconciler.epoch_lock(recorded_in)) then
            perform pg_advisory_unlock_shared(auth_reconciler.epoch_lock(recorded_in));
            return new;
        end if;
        if isolation <> 'read committed' and touched then
            -- A newer version may be there, or somebody only had it locked.
            begin
                perform
                from auth_reconciler.instance as i
                where i.watched_id = watched and i.instance_id = new.id
                for share nowait;
                -- Lets go of the row: our own records must not wait for the end of this transaction.
                raise sqlstate 'AR001';
            exception when sqlstate 'AR001' then
                null;
            end;
        end if;
        new.auth_status := old.auth_status;
    exception when others then
        -- The write goes through as it came, and is logged as any other.
        return new;
    end;
    if noted = this_transaction
        and has_table_privilege(to_regclass('auth_reconciler.change')::oid, 'insert')
    then
        insert into auth_reconciler.change
            (watched_id, instance_id, cause, from_status, to_status, application, role, kept)
        values (
            watched, new.id, 'drift', from_value, to_value, current_setting('application_name'), written_by, true);
        word := 'log';
    else
        begin
            insert into auth_reconciler.change
                (watched_id, instance_id, cause, from_status, to_status, application, role, kept)
            values (
                watched, new.id, 'drift', from_value, to_value, current_setting('application_name'), written_by, true);
            perform set_config(auth_reconciler.noted_in(), this_transaction, true);
            word := watched || '/' || new.id || '/drift';
        exception when others then
            begin
                perform set_config(auth_reconciler.noted_in(), this_transaction || ' cannot', true);
            exception when others then
                -- Without it the next row of this transaction tries once more.
                null;
            end;
            perform nextval(c.oid::regclass)
            from pg_trigger as t
            join pg_proc as p on p.oid = t.tgfoid
            join pg_class as c on c.relnamespace = p.pronamespace and c.relname = 'unlogged' and c.relkind = 'S'
            where t.tgrelid = tg_relid and t.tgname = tg_name and has_sequence_privilege(c.oid, 'usage');
            perform pg_notify('auth_reconciler', 'resync');
            return came;
        end;
    end if;
    perform pg_notify('auth_reconciler', word);
    return new;
end
$body$;

comment on function auth_reconciler.keep_status() is
    'Trigger of a guarded table: puts a foreign write of auth_status aside while our verdict on the row is final, established, of the living epoch, undoubted, and nothing is unanswered; never good news over which ours is bad.';

revoke all on function auth_reconciler.keep_status() from public;

create or replace function auth_reconciler.is_guarded(relation regclass) returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $body$
    select exists (
        select
        from pg_catalog.pg_trigger as t
        where t.tgrelid = relation and t.tgname = 'zz_auth_reconciler_guard'
    )
$body$;

comment on function auth_reconciler.is_guarded(regclass) is 'Whether guard() was called for a table.';

create or replace function auth_reconciler.attach_guard(relation regclass, watched_id integer, typed boolean)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
begin
    -- The name makes it the last of the BEFORE triggers: it decides from what will be written.
    execute format(
        $sql$
        create or replace trigger zz_auth_reconciler_guard before update%4$s on %1$s
            for each row when (old.auth_status is distinct from new.auth_status and not (%3$s))
            execute function auth_reconciler.keep_status(%2$L);
        -- Somebody may have disabled it.
        alter table %1$s enable trigger zz_auth_reconciler_guard;
        $sql$,
        relation, watched_id::text, auth_reconciler.facts_differ(typed),
        -- A statement that names it not cannot change it, where no other trigger does.
        case when auth_reconciler.before_triggers(relation) is null then ' of auth_status' else '' end);
end
$body$;

comment on function auth_reconciler.attach_guard(regclass, integer, boolean) is
    'Makes the trigger of a guarded table.';

create or replace function auth_reconciler.guard(relation regclass, keep boolean) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    known auth_reconciler.watched_table;
begin
    select * into known from auth_reconciler.watched_table as w where w.relation = guard.relation;
    if not found then
        return format('%s is not watched, so it cannot be guarded: call auth_reconciler.watch() first', relation);
    end if;
    if keep is not true then
        if not auth_reconciler.is_guarded(relation) then
            return format('%s was not guarded: foreign writes of auth_status are corrected', relation);
        end if;
        perform auth_reconciler.lock_briefly(relation, 'access exclusive');
        execute format('drop trigger if exists zz_auth_reconciler_guard on %s', relation);
        return format('%s is no longer guarded: foreign writes of auth_status go through and are corrected', relation);
    end if;
    perform auth_reconciler.lock_briefly(relation, 'share row exclusive');
    perform auth_reconciler.attach_guard(relation, known.id, known.has_type_instance);
    return format(
        '%s is guarded: a foreign write of auth_status that contradicts a current verdict is put aside, see auth_reconciler.drift',
        relation);
end
$body$;

comment on function auth_reconciler.guard(regclass, boolean) is
    'Has the database itself keep verdicts that are current: with true, a foreign write of auth_status that contradicts one is put aside (the rest of the statement goes through, RETURNING shows the kept value, drift shows the writer), so no reader sees a stale value. A verdict is current while it is final, an answer, the engine''s word or the row itself stands behind it, it was recorded in the term of the daemon that leads now and does not doubt its own way, no change of the instance waits for a look, and none that was put aside waits for longer than 5 s. Good news over a bad verdict goes through and is looked at; what was put aside is given back where the look that it causes finds no answer. The price: writers of auth_status are told nothing, a trigger reads our tables within such a write, and what only the writer knew of the world outside is true in the column only after the look that each such write causes. SERIALIZABLE transactions, and REPEATABLE READ ones older than 5 s, are never guarded. With false, such writes go through and are corrected.';
