-- What runs inside the manager's statements. It must never fail them, never read our tables (that
-- would make SERIALIZABLE writers fail), never update a shared row (REPEATABLE READ writers would
-- fail), and never wait.

-- Nor may it take a transaction id for each row of a bulk statement, which is what a block with EXCEPTION
-- does as soon as something is written in it. So only the first change of a transaction is written in such a
-- block. The lock that this takes on the log stays until the transaction ends, and keeps ALTER and DROP of
-- the log out: what could be written once can be written again. What that lock does not keep out, a schema
-- that is renamed and a right that is taken away, is asked each time. What is made from the row, whose
-- columns somebody may rename, stands in a block always: without a write, a block takes no id.

create or replace function auth_reconciler.is_ours(watched_id integer, instance_id uuid, status text) returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $body$
begin
    -- Anybody may set this, so it only tells whether it is worth a look: no statement of the manager's reads our
    -- tables in it. With the transaction's id, for what one leaves behind says nothing in the next.
    if current_setting('auth_reconciler.writing', true) is distinct from pg_current_xact_id()::text then
        return false;
    end if;
    -- What a record wrote in this very transaction; nobody else ever sees it, or may write it.
    return exists (
        select
        from auth_reconciler.instance as i
        where i.watched_id = is_ours.watched_id and i.instance_id = is_ours.instance_id and i.writing = is_ours.status
    );
end
$body$;

comment on function auth_reconciler.is_ours(integer, uuid, text) is
    'Whether the write of auth_status that is under way is our own record. Called by the triggers, with the rights of the owner.';

create or replace function auth_reconciler.log_change() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $body$
declare
    watched constant integer := tg_argv[0]::integer;
    -- What this transaction has come to with the log: its id, and "can" or "cannot". Local to it and undone
    -- with a savepoint, as the lock is; with the id because anybody may set it, and reset beforehand. "cannot" is
    -- sealed, for it leaves out who wrote what. That there is an id before a number of the log is drawn, readers rely on:
    -- what they do not see below a number that was drawn belongs to a transaction that they do.
    this_transaction constant text := pg_current_xact_id()::text;
    logged constant text := current_setting('auth_reconciler.logged', true);
    ids uuid[];
    causes text[];
    is_first boolean := false;
    acting text;
    written_by text;
    ours boolean := false;
    -- Who wrote what: for the operator alone, never in the ring, which anybody may hear.
    from_value text;
    to_value text;
begin
    if logged like '% cannot %' and logged = this_transaction || ' cannot ' || (
        select hashtextextended(this_transaction, pg_sequence_last_value(seal.id))
        from (select to_regclass('auth_reconciler.seal') as id) as seal
        where has_sequence_privilege(seal.id::oid, 'usage')
    ) then
        -- Counted outside the transaction, so that no end of a process loses it: everything will be looked at, this as
        -- well. In the schema that this function is in, whatever it is called by now. Asked for each time, for anybody may
        -- set this and so ask for silence; equal notifications of one transaction are sent once.
        perform nextval(c.oid::regclass)
        from pg_trigger as t
        join pg_proc as p on p.oid = t.tgfoid
        join pg_class as c on c.relnamespace = p.pronamespace and c.relname = 'unlogged' and c.relkind = 'S'
        where t.tgrelid = tg_relid and t.tgname = tg_name and has_sequence_privilege(c.oid, 'usage');
        perform pg_notify('auth_reconciler', 'resync');
        return null;
    end if;
    begin
        acting := current_setting('role');
        written_by := session_user || case when acting in ('none', session_user) then '' else ' as ' || acting end;
        if tg_op = 'INSERT' then
            ids := array[new.id];
            causes := array['insert'];
        elsif tg_op = 'DELETE' then
            ids := array[old.id];
            causes := array['delete'];
        elsif tg_op = 'TRUNCATE' then
            ids := array[null::uuid];
            causes := array['truncate'];
        elsif new.id is distinct from old.id then
            -- One instance ends, another begins.
            ids := array[old.id, new.id];
            causes := array['id', 'id'];
        else
            ours := auth_reconciler.is_ours(watched, new.id, new.auth_status::text);
            ids := array[new.id];
            causes := array[case
                when new.api_key is distinct from old.api_key then 'api_key'
                when new.account is distinct from old.account then 'account'
                when new.port_api is distinct from old.port_api then 'port_api'
                when new.provider is distinct from old.provider then 'provider'
                when tg_argv[1] = 'assigned' then 'assigned'
                when new.auth_status is distinct from old.auth_status then 'drift'
                else 'type_instance'
            end];
            if ours and causes = array['drift'] then
                return null;
            end if;
            if new.auth_status is distinct from old.auth_status and tg_argv[1] is null and not ours then
                from_value := left(old.auth_status, 64);
                to_value := left(new.auth_status, 64);
                if causes <> array['drift'] then
                    -- A fact and the status in one statement: the second is somebody's opinion of the first,
                    -- and counts against the budget of corrections like any other.
                    ids := ids || new.id;
                    causes := causes || 'drift'::text;
                end if;
            end if;
        end if;
    exception when others then
        -- The manager's statement goes through whatever is wrong, a column that it has renamed included.
        -- What was not logged is found by looking at everything.
        perform nextval(c.oid::regclass)
        from pg_trigger as t
        join pg_proc as p on p.oid = t.tgfoid
        join pg_class as c on c.relnamespace = p.pronamespace and c.relname = 'unlogged' and c.relkind = 'S'
        where t.tgrelid = tg_relid and t.tgname = tg_name and has_sequence_privilege(c.oid, 'usage');
        perform pg_notify('auth_reconciler', 'resync');
        return null;
    end;
    if logged = this_transaction || ' can'
        and has_table_privilege(to_regclass('auth_reconciler.change')::oid, 'insert')
    then
        insert into auth_reconciler.change
            (watched_id, instance_id, cause, from_status, to_status, application, role)
        select watched, told.id, told.cause,
            case when told.cause = 'drift' then from_value end, case when told.cause = 'drift' then to_value end,
            current_setting('application_name'), written_by
        from unnest(ids, causes) as told (id, cause);
    else
        begin
            insert into auth_reconciler.change
                (watched_id, instance_id, cause, from_status, to_status, application, role)
            select watched, told.id, told.cause,
                case when told.cause = 'drift' then from_value end, case when told.cause = 'drift' then to_value end,
                current_setting('application_name'), written_by
            from unnest(ids, causes) as told (id, cause);
            perform set_config('auth_reconciler.logged', this_transaction || ' can', true);
            is_first := true;
        exception when others then
            perform set_config('auth_reconciler.logged', this_transaction || ' cannot ' || (
                    select hashtextextended(this_transaction, pg_sequence_last_value(seal.id))
                    from (select to_regclass('auth_reconciler.seal') as id) as seal
                    where has_sequence_privilege(seal.id::oid, 'usage')
                ), true);
            perform nextval(c.oid::regclass)
            from pg_trigger as t
            join pg_proc as p on p.oid = t.tgfoid
            join pg_class as c on c.relnamespace = p.pronamespace and c.relname = 'unlogged' and c.relkind = 'S'
            where t.tgrelid = tg_relid and t.tgname = tg_name and has_sequence_privilege(c.oid, 'usage');
            perform pg_notify('auth_reconciler', 'resync');
            return null;
        end;
    end if;
    -- Equal notifications of one transaction are sent once, and sending them costs all who commit: so the first row is
    -- told, and that there are more, with one word.
    if tg_op = 'TRUNCATE' then
        perform pg_notify('auth_reconciler', 'scan');
    elsif is_first then
        for i in 1 .. cardinality(ids) loop
            perform pg_notify('auth_reconciler', watched || '/' || ids[i] || '/' || causes[i]);
        end loop;
    else
        perform pg_notify('auth_reconciler', 'log');
    end if;
    return null;
end
$body$;

comment on function auth_reconciler.log_change() is
    'Trigger of the watched tables: appends the change to the log and rings, with the key for the first row of a transaction and with one word for all others. Runs with the rights of its owner, so writers need none of ours.';

revoke all on function auth_reconciler.log_change() from public;
