-- What runs inside the manager's statements. It must never fail them, never read our tables (that
-- would make SERIALIZABLE writers fail), never update a shared row (REPEATABLE READ writers would
-- fail), never wait, and cost as little as can be.

-- Nor may it take a transaction id for each row of a bulk statement, which is what a block with EXCEPTION
-- does as soon as something is written in it. So only the first change of a transaction is written in such a
-- block. The lock that this takes on the log stays until the transaction ends, and keeps ALTER and DROP of
-- the log out: what could be written once can be written again. What that lock does not keep out, a schema
-- that is renamed and a right that is taken away, is asked each time. What is made from the row, whose
-- columns somebody may rename, stands in a block always: without a write, a block takes no id.

-- The setting of a search path for each call would cost as much as the comparison of a row. So log_change() has none: it
-- names the schema of everything, operators too, and compares by these functions, whose bodies were resolved when they
-- were made. They become part of the expression that calls them.

create or replace function auth_reconciler.differ(one text, other text) returns boolean
language sql
immutable
return one is distinct from other;

comment on function auth_reconciler.differ(text, text) is 'Whether two values are not the same, as null is to null.';

create or replace function auth_reconciler.differ(one uuid, other uuid) returns boolean
language sql
immutable
return one is distinct from other;

comment on function auth_reconciler.differ(uuid, uuid) is 'Whether two values are not the same, as null is to null.';

create or replace function auth_reconciler.differ(one bigint, other bigint) returns boolean
language sql
immutable
return one is distinct from other;

comment on function auth_reconciler.differ(bigint, bigint) is 'Whether two values are not the same, as null is to null.';

create or replace function auth_reconciler.differ(one text[], other text[]) returns boolean
language sql
immutable
return one is distinct from other;

comment on function auth_reconciler.differ(text[], text[]) is 'Whether two values are not the same, as null is to null.';

create or replace function auth_reconciler.is_ours(watched_id integer, instance_id uuid, status text) returns boolean
language plpgsql
stable
as $body$
begin
    -- Anybody may set this, so it only tells whether it is worth a look: no statement of the manager's reads our
    -- tables in it. With the transaction's id, for what one leaves behind says nothing in the next.
    if auth_reconciler.differ(
        pg_catalog.current_setting('auth_reconciler.writing', true), pg_catalog.pg_current_xact_id()::pg_catalog.text)
    then
        return false;
    end if;
    -- What a record wrote in this very transaction; nobody else ever sees it, or may write it.
    return exists (
        select
        from auth_reconciler.instance as i
        where i.watched_id operator(pg_catalog.=) is_ours.watched_id
            and i.instance_id operator(pg_catalog.=) is_ours.instance_id
            and i.writing operator(pg_catalog.=) is_ours.status
    );
end
$body$;

comment on function auth_reconciler.is_ours(integer, uuid, text) is
    'Whether the write of auth_status that is under way is our own record. Called by the triggers, with the rights of the owner.';

create or replace function auth_reconciler.noted_in() returns text
language sql
-- Resolved when it was made, as differ() is, so no name is looked up for it; and nobody can drop the sequence without it.
return pg_catalog.concat('auth_reconciler.noted_', pg_catalog.pg_sequence_last_value('auth_reconciler.seal'));

comment on function auth_reconciler.noted_in() is
    'Name of the setting in which our triggers note what a transaction has come to with the log: its id where it has written to it, its id and cannot where it cannot. Anybody may make any setting, so it is in the name that nobody else knows: a number that nobody else may read, and the server lists no such setting.';

drop function if exists auth_reconciler.cannot_log(text);
drop function if exists auth_reconciler.word_of_failure();

create or replace function auth_reconciler.log_change() returns trigger
language plpgsql
security definer
as $body$
declare
    -- There is an id before a number of the log is drawn. Readers rely on it: what they do not see below a number that
    -- was drawn belongs to a transaction that they do.
    this_transaction constant pg_catalog.text := pg_catalog.pg_current_xact_id()::pg_catalog.text;
    -- What this transaction has come to with the log, see noted_in(). Local to it and undone with a savepoint, as the lock is;
    -- with the id, so that it says nothing in another one.
    noted pg_catalog.text;
    is_first boolean;
    instance pg_catalog.uuid;
    what pg_catalog.text;
    -- One more change of the same row: another instance, or a foreign status beside a fact.
    other_instance pg_catalog.uuid;
    other pg_catalog.text;
    -- Who wrote what: for the operator alone, never in the ring, which anybody may hear.
    was pg_catalog.text;
    became pg_catalog.text;
    acting constant pg_catalog.text := pg_catalog.current_setting('role');
    written_by constant pg_catalog.text := session_user::pg_catalog.text operator(pg_catalog.||) case
        when acting operator(pg_catalog.=) 'none' or acting operator(pg_catalog.=) session_user::pg_catalog.text then ''
        else ' as ' operator(pg_catalog.||) acting end;
    own_path pg_catalog.text;
    -- What is assigned to it is done without the executor, which `perform` calls.
    nothing pg_catalog.text;
begin
    begin
        if tg_op operator(pg_catalog.=) 'UPDATE' then
            instance := new.id;
            what := case
                when auth_reconciler.differ(new.id, old.id) then 'id'
                when auth_reconciler.differ(new.api_key, old.api_key) then 'api_key'
                when auth_reconciler.differ(new.account, old.account) then 'account'
                when auth_reconciler.differ(new.port_api, old.port_api) then 'port_api'
                when auth_reconciler.differ(new.provider, old.provider) then 'provider'
            end;
            if what is null then
                if tg_argv[1] operator(pg_catalog.=) 'assigned' then
                    what := 'assigned';
                elsif tg_argv[1] is null then
                    -- The trigger has compared: it is the one column that not every table has, unless it is the status.
                    what := case when not auth_reconciler.differ(new.auth_status, old.auth_status) then 'type_instance' end;
                elsif tg_argv[1] operator(pg_catalog.=) 'typed' then
                    what := case when auth_reconciler.differ(new.type_instance, old.type_instance) then 'type_instance' end;
                end if;
            elsif what operator(pg_catalog.=) 'id' then
                -- One instance ends, another begins.
                instance := old.id;
                other_instance := new.id;
                other := what;
            end if;
            if auth_reconciler.differ(new.auth_status, old.auth_status) and other is null
                and auth_reconciler.differ(what, 'assigned')
                and (
                    pg_catalog.current_setting('auth_reconciler.writing', true) operator(pg_catalog.=) this_transaction
                    and auth_reconciler.is_ours(tg_argv[0]::integer, new.id, new.auth_status::pg_catalog.text)
                ) is not true
            then
                was := pg_catalog.left(old.auth_status::pg_catalog.text, 64);
                became := pg_catalog.left(new.auth_status::pg_catalog.text, 64);
                if what is null then
                    what := 'drift';
                else
                    -- A fact and the status in one statement: the second is somebody's opinion of the first,
                    -- and counts against the budget of corrections like any other.
                    other_instance := new.id;
                    other := 'drift';
                end if;
            end if;
            if what is null then
                return null;
            end if;
        elsif tg_op operator(pg_catalog.=) 'INSERT' then
            instance := new.id;
            what := 'insert';
        elsif tg_op operator(pg_catalog.=) 'DELETE' then
            instance := old.id;
            what := 'delete';
        else
            what := 'truncate';
        end if;
        noted := pg_catalog.current_setting(auth_reconciler.noted_in(), true);
        is_first := (noted operator(pg_catalog.=) this_transaction) is not true;
        if is_first then
            if noted operator(pg_catalog.=) (this_transaction operator(pg_catalog.||) ' cannot') then
                raise sqlstate 'AR002';
            end if;
            insert into auth_reconciler.change
                (watched_id, instance_id, cause, from_status, to_status, application, role, rings)
            values (
                tg_argv[0]::integer, instance, what, case when other is null then was end,
                case when other is null then became end, pg_catalog.current_setting('application_name'), written_by,
                instance is not null);
            nothing := pg_catalog.set_config(auth_reconciler.noted_in(), this_transaction, true);
        elsif not pg_catalog.has_table_privilege('auth_reconciler.change', 'insert') then
            raise sqlstate 'AR002';
        end if;
    exception when others then
        -- The manager's statement goes through whatever is wrong, a column that it has renamed included. What was not
        -- logged is found by looking at everything.
        own_path := pg_catalog.current_setting('search_path');
        begin
            nothing := pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
            -- In the schema that this function is in, whatever it is called by now; so the name of noted_in() is put together
            -- here once more.
            -- Counted outside the transaction, so that no end of a process loses it: everything will be looked at, this
            -- as well.
            perform case c.relname
                when 'unlogged' then nextval(c.oid::regclass)::text
                else set_config(
                    concat('auth_reconciler.noted_', pg_sequence_last_value(c.oid)), this_transaction || ' cannot', true)
                end
            from pg_trigger as t
            join pg_proc as p on p.oid = t.tgfoid
            join pg_class as c on c.relnamespace = p.pronamespace and c.relname in ('unlogged', 'seal') and c.relkind = 'S'
            where t.tgrelid = tg_relid and t.tgname = tg_name and has_sequence_privilege(c.oid, 'usage');
        exception when others then
            -- Without our sequences, too.
            null;
        end;
        nothing := pg_catalog.set_config('search_path', own_path, true);
        nothing := pg_catalog.pg_notify('auth_reconciler', 'resync')::pg_catalog.text;
        return null;
    end;
    if not is_first then
        insert into auth_reconciler.change
            (watched_id, instance_id, cause, from_status, to_status, application, role)
        values (
            tg_argv[0]::integer, instance, what, case when other is null then was end,
            case when other is null then became end, pg_catalog.current_setting('application_name'), written_by);
    end if;
    if other is not null then
        insert into auth_reconciler.change
            (watched_id, instance_id, cause, from_status, to_status, application, role, rings)
        values (
            tg_argv[0]::integer, other_instance, other, was, became, pg_catalog.current_setting('application_name'),
            written_by, is_first);
    end if;
    if instance is null then
        -- What was truncated no read of the log tells.
        nothing := pg_catalog.pg_notify('auth_reconciler', 'scan')::pg_catalog.text;
    end if;
    return null;
end
$body$;

comment on function auth_reconciler.log_change() is
    'Trigger of the watched tables: appends the change to the log, and marks the first one of a transaction, which rings at the commit. Runs with the rights of its owner, so writers need none of ours. After the number of the table: nothing where the trigger has compared, else typed or untyped (whether type_instance counts), or assigned (a repeated value counts).';

revoke all on function auth_reconciler.log_change() from public;
