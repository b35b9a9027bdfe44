-- What runs inside the manager's statements. It must never fail them, never read our tables (that
-- would make SERIALIZABLE writers fail), never update a shared row (REPEATABLE READ writers would
-- fail), and never wait.

create or replace function auth_reconciler.log_change() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $body$
declare
    -- Rings in one transaction before a single call for a scan takes their place.
    max_rings constant integer := 64;
    watched constant integer := tg_argv[0]::integer;
    ids uuid[];
    causes text[];
    rings integer;
    acting text;
begin
    begin
        acting := current_setting('role');
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
            if new.auth_status is distinct from old.auth_status and causes <> array['drift']
                and tg_argv[1] is null
            then
                -- A fact and the status in one statement: the second is somebody's opinion of the first,
                -- and counts against the budget of corrections like any other.
                ids := ids || new.id;
                causes := causes || 'drift'::text;
            end if;
        end if;
        for i in 1 .. cardinality(ids) loop
            insert into auth_reconciler.change
                (watched_id, instance_id, cause, from_status, to_status, application, role)
            values (
                watched, ids[i], causes[i],
                -- Who wrote what: for the operator alone, never in the ring, which anybody may hear.
                case when causes[i] = 'drift' then left(old.auth_status, 64) end,
                case when causes[i] = 'drift' then left(new.auth_status, 64) end,
                current_setting('application_name'),
                session_user || case when acting in ('none', session_user) then '' else ' as ' || acting end);
            rings := coalesce(nullif(current_setting('auth_reconciler.rings', true), ''), '0')::integer;
            if ids[i] is null or rings >= max_rings then
                -- Equal notifications of one transaction are sent once.
                perform pg_notify('auth_reconciler', 'scan');
            else
                perform set_config('auth_reconciler.rings', (rings + 1)::text, true);
                perform pg_notify('auth_reconciler', watched || '/' || ids[i] || '/' || causes[i]);
            end if;
        end loop;
    exception when others then
        -- The manager's statement goes through whatever is wrong with us, a column that it has renamed
        -- included. What was not logged is found by looking at everything.
        perform pg_notify('auth_reconciler', 'resync');
    end;
    return null;
end
$body$;

comment on function auth_reconciler.log_change() is
    'Trigger of the watched tables: appends the change to the log and rings with the key. Runs with the rights of its owner, so writers need none of ours.';

revoke all on function auth_reconciler.log_change() from public;
