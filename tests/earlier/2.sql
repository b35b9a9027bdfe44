-- The schema as version 2 made it, tables and routines, word for word: what an upgrade meets. Never edited.
-- Schema of auth-reconciler: the change log, what was recorded, the history, and who leads.
--
-- Run by `auth-reconciler migrate` in one transaction, once. Later versions add files, they never
-- edit this one. Functions, views and comments on them live in ../routines and are made anew by
-- every migration run, so only tables are here.

create schema auth_reconciler;

comment on schema auth_reconciler is
    'auth-reconciler: keeps auth_status of the watched tables true. Start with: select * from auth_reconciler.status';

create table auth_reconciler.migration (
    version integer not null constraint migration_pkey primary key,
    name text not null,
    routines text,
    applied_at timestamptz not null default now()
);

comment on table auth_reconciler.migration is 'One row per migration that was applied to this schema.';
comment on column auth_reconciler.migration.version is 'Number of the migration file.';
comment on column auth_reconciler.migration.name is 'Name of the migration file.';
comment on column auth_reconciler.migration.routines is
    'Digest of the functions and views that were installed with it; null for all but the newest.';
comment on column auth_reconciler.migration.applied_at is 'When it was applied.';

create table auth_reconciler.watched_table (
    id integer generated always as identity constraint watched_table_pkey primary key,
    relation regclass not null constraint watched_table_relation_key unique,
    has_type_instance boolean not null,
    assigned boolean not null,
    watched_since timestamptz not null default now()
);

comment on table auth_reconciler.watched_table is
    'The tables whose rows are followed. Filled by auth_reconciler.watch(), emptied by unwatch().';
comment on column auth_reconciler.watched_table.id is
    'Short name of the table in triggers and notifications; survives a rename of the table.';
comment on column auth_reconciler.watched_table.relation is 'The table.';
comment on column auth_reconciler.watched_table.has_type_instance is
    'Whether it has the column type_instance; rows whose type_instance lacks api are left alone.';
comment on column auth_reconciler.watched_table.assigned is
    'Whether a write that repeats the value of api_key or account counts as a change, too.';
comment on column auth_reconciler.watched_table.watched_since is 'Since when it is watched.';

-- No foreign keys: the triggers of the watched tables write here and must read none of our tables.
create table auth_reconciler.change (
    id bigint generated always as identity constraint change_pkey primary key,
    watched_id integer not null,
    instance_id uuid,
    cause text not null,
    changed_at timestamptz not null default clock_timestamp()
) with (
    autovacuum_vacuum_scale_factor = 0.0,
    autovacuum_vacuum_threshold = 1000,
    -- Giving pages back locks the table against the triggers, and so against the manager.
    vacuum_truncate = false
);

create index change_instance_idx on auth_reconciler.change (watched_id, instance_id);

comment on table auth_reconciler.change is
    'The change log: what was committed to a watched table and no look has answered for yet. Empty when all is quiet.';
comment on column auth_reconciler.change.id is 'Order of the changes.';
comment on column auth_reconciler.change.watched_id is 'The table, see watched_table.';
comment on column auth_reconciler.change.instance_id is 'The row; null when the whole table was truncated.';
comment on column auth_reconciler.change.cause is
    'What changed: insert, delete, id, api_key, account, port_api, provider, type_instance, assigned, drift (auth_status, by somebody else), truncate, watch, operator, resync (a change that could not be logged).';
comment on column auth_reconciler.change.changed_at is 'When the statement that changed it ran.';

create table auth_reconciler.instance (
    watched_id integer not null,
    instance_id uuid not null,
    version uuid not null,
    generation bigint not null,
    auth_status text,
    reason text not null,
    message text not null,
    since timestamptz not null,
    settled boolean not null,
    next_attempt_at timestamptz,
    trouble_at timestamptz,
    cause text not null,
    reaction_ms double precision not null,
    recorded_at timestamptz not null,
    looks bigint not null,
    attempts bigint not null,
    misses bigint not null,
    first_miss_at timestamptz,
    ready_at timestamptz,
    started_at timestamptz,
    account_at timestamptz,
    corrections_spent bigint not null,
    corrections_since timestamptz,
    contested bigint not null,
    hold_until timestamptz,
    constraint instance_pkey primary key (watched_id, instance_id)
) with (fillfactor = 70);

comment on table auth_reconciler.instance is
    'What was recorded of each instance: the last verdict and what the next one builds on. Read auth_reconciler.status instead.';
comment on column auth_reconciler.instance.watched_id is 'The table, see watched_table.';
comment on column auth_reconciler.instance.instance_id is 'The row.';
comment on column auth_reconciler.instance.version is
    'Random, new with each record: a verdict that was computed from an older version is refused.';
comment on column auth_reconciler.instance.generation is 'Number of the last change that a look answered for.';
comment on column auth_reconciler.instance.auth_status is 'The verdict; null where hands are off the instance.';
comment on column auth_reconciler.instance.reason is 'Why, in one word of a closed list.';
comment on column auth_reconciler.instance.message is 'Why, for a person.';
comment on column auth_reconciler.instance.since is 'Since when status and reason are so.';
comment on column auth_reconciler.instance.settled is 'Final: only an event leads to another look.';
comment on column auth_reconciler.instance.next_attempt_at is 'When it is looked at again without an event; null if final.';
comment on column auth_reconciler.instance.trouble_at is 'From then on it counts as in trouble; null is never.';
comment on column auth_reconciler.instance.cause is 'What led to the last look.';
comment on column auth_reconciler.instance.reaction_ms is 'Time from that cause to the record, in milliseconds.';
comment on column auth_reconciler.instance.recorded_at is 'When the last look was recorded.';
comment on column auth_reconciler.instance.looks is 'Looks recorded so far.';
comment on column auth_reconciler.instance.attempts is 'Looks since it was last final or began anew; the exponent of the backoff.';
comment on column auth_reconciler.instance.misses is 'Answers of the same kind in a row that were not READY.';
comment on column auth_reconciler.instance.first_miss_at is 'When that streak began.';
comment on column auth_reconciler.instance.ready_at is 'Last READY since the instance began anew.';
comment on column auth_reconciler.instance.started_at is 'When the instance last began anew or wrote its account.';
comment on column auth_reconciler.instance.account_at is 'Last write of account.';
comment on column auth_reconciler.instance.corrections_spent is 'Looks at foreign writes of auth_status in the current minute.';
comment on column auth_reconciler.instance.corrections_since is 'When that minute began.';
comment on column auth_reconciler.instance.contested is 'Zero, or how often the hold of a contested instance has grown.';
comment on column auth_reconciler.instance.hold_until is 'Until then a foreign write alone causes no look.';

create table auth_reconciler.transition (
    id bigint generated always as identity constraint transition_pkey primary key,
    watched_id integer not null,
    instance_id uuid not null,
    at timestamptz not null,
    from_status text,
    to_status text,
    reason text not null,
    message text not null,
    cause text not null,
    reaction_ms double precision not null
);

create index transition_instance_idx on auth_reconciler.transition (watched_id, instance_id, id);
create index transition_at_idx on auth_reconciler.transition (at);

comment on table auth_reconciler.transition is
    'History: each time a status moved. Bounded per instance and by age. Read auth_reconciler.transitions instead.';
comment on column auth_reconciler.transition.id is 'Order of the transitions.';
comment on column auth_reconciler.transition.watched_id is 'The table, see watched_table.';
comment on column auth_reconciler.transition.instance_id is 'The row.';
comment on column auth_reconciler.transition.at is 'When it was recorded.';
comment on column auth_reconciler.transition.from_status is 'What the column said before, whoever wrote it.';
comment on column auth_reconciler.transition.to_status is 'What it says since.';
comment on column auth_reconciler.transition.reason is 'Why, in one word.';
comment on column auth_reconciler.transition.message is 'Why, for a person.';
comment on column auth_reconciler.transition.cause is 'What led to the look.';
comment on column auth_reconciler.transition.reaction_ms is 'Time from that cause to the record, in milliseconds.';

-- Unlogged on purpose: a crash or a fail-over may take back what a run has read, and then no record
-- of that run may pass. Crash recovery and promotion empty an unlogged table, and with it every
-- epoch ends at once, before any pool has reconnected.
create unlogged table auth_reconciler.leadership (
    singleton boolean not null default true
        constraint leadership_pkey primary key
        constraint leadership_singleton_check check (singleton),
    epoch uuid not null,
    term bigint not null,
    pid integer not null,
    backend_start timestamptz not null,
    taken_at timestamptz not null
);

comment on table auth_reconciler.leadership is
    'One row at most: the epoch of the process that leads. Records of any other epoch are refused. Empty after a crash of the server until a process leads again.';
comment on column auth_reconciler.leadership.singleton is 'Always true.';
comment on column auth_reconciler.leadership.epoch is
    'Random, new with each take-over; compared only for equality, so no crash or fail-over can bring an old one back.';
comment on column auth_reconciler.leadership.term is 'Number of take-overs since the server last recovered from a crash.';
comment on column auth_reconciler.leadership.pid is 'Server process of the session that took over.';
comment on column auth_reconciler.leadership.backend_start is 'Start of that session; tells it from a later one with the same pid.';
comment on column auth_reconciler.leadership.taken_at is 'When it took over.';
-- Containers: what each verdict saw of them, and whether the engine is in sight.

alter table auth_reconciler.instance
    add column container_engine text,
    add column container_id text,
    add column container_name text,
    add column container_state text,
    add column container_started_at timestamptz,
    add column container_network text;

comment on column auth_reconciler.instance.container_engine is
    'The engine on which the container was seen: derived from its address and, for a socket, from the machine. That a container is gone is believed of no other engine.';
comment on column auth_reconciler.instance.container_id is 'The container that the verdict saw; null if none was ever seen.';
comment on column auth_reconciler.instance.container_name is 'Its name.';
comment on column auth_reconciler.instance.container_state is
    'Its state in the engine''s words (created, running, paused, restarting, exited, dead), or removed.';
comment on column auth_reconciler.instance.container_started_at is 'When it was last started, by the engine''s clock.';
comment on column auth_reconciler.instance.container_network is
    'Its network endpoints. A start makes new ones, so a list of containers shows which of them started again.';

-- Unlogged, as the epoch that it belongs to.
create unlogged table auth_reconciler.engine (
    singleton boolean not null default true
        constraint engine_pkey primary key
        constraint engine_singleton_check check (singleton),
    epoch uuid not null,
    address text not null,
    seen boolean not null,
    since timestamptz not null,
    detail text
);

comment on table auth_reconciler.engine is
    'One row at most: whether the process that leads sees its container engine. Read auth_reconciler.reconcilers instead.';
comment on column auth_reconciler.engine.singleton is 'Always true.';
comment on column auth_reconciler.engine.epoch is 'The epoch of the process that says so; a row of another epoch says nothing.';
comment on column auth_reconciler.engine.address is 'Where the engine is, or off.';
comment on column auth_reconciler.engine.seen is 'Whether its events arrive.';
comment on column auth_reconciler.engine.since is 'Since when it is so.';
comment on column auth_reconciler.engine.detail is 'Why it is not seen, with what to do; null while it is.';
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
begin
    begin
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
            insert into auth_reconciler.change (watched_id, instance_id, cause)
            values (watched, ids[i], causes[i]);
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
-- Attaching and removing the triggers. Whoever changes the watched table's schema waits at most
-- 200 ms at a time for its lock, because the manager's statements queue behind a waiting lock.

create or replace function auth_reconciler.lock_briefly(relation regclass, mode text) returns void
language plpgsql
as $body$
declare
    tries constant integer := 150;
    kept constant text := current_setting('lock_timeout');
begin
    for attempt in 1 .. tries loop
        begin
            perform set_config('lock_timeout', '200ms', true);
            execute format('lock table %s in %s mode', relation, mode);
            perform set_config('lock_timeout', kept, true);
            return;
        exception when lock_not_available then
            perform pg_sleep(0.05 + random() * 0.1);
        end;
    end loop;
    raise exception 'could not lock table % within % tries of 200 ms', relation, tries
        using errcode = 'lock_not_available',
              hint = 'A long transaction holds the table; see pg_locks, end it or try again later.';
end
$body$;

comment on function auth_reconciler.lock_briefly(regclass, text) is
    'Locks a table for a change of its schema in short tries, so that other writers never queue behind us for long.';

create or replace function auth_reconciler.missing_triggers(relation regclass, assigned boolean) returns text[]
language sql
stable
as $body$
    select coalesce(array_agg(wanted.name order by wanted.name), '{}')
    from unnest(
        array['auth_reconciler_delete', 'auth_reconciler_insert', 'auth_reconciler_truncate', 'auth_reconciler_update']
        || case when assigned then array['auth_reconciler_assigned'] else '{}' end
    ) as wanted (name)
    where not exists (
        select
        from pg_catalog.pg_trigger as t
        where t.tgrelid = relation and t.tgname = wanted.name and t.tgenabled in ('O', 'A')
            and t.tgfoid = 'auth_reconciler.log_change()'::regprocedure
    )
$body$;

comment on function auth_reconciler.missing_triggers(regclass, boolean) is
    'Names of our triggers that are absent from the table or disabled.';

create or replace function auth_reconciler.check_watchable(relation regclass) returns void
language plpgsql
as $body$
declare
    kind "char";
    problems text;
begin
    select c.relkind into kind from pg_catalog.pg_class as c where c.oid = relation;
    if kind not in ('r', 'p') then
        raise exception '% is not a table', relation
            using errcode = 'wrong_object_type',
                  hint = 'Name the table that the manager writes to.';
    end if;
    select string_agg(
        case when a.attname is null
            then format('column %s is missing', wanted.name)
            else format('column %s is %s, not %s', wanted.name, format_type(a.atttypid, a.atttypmod), wanted.types)
        end, '; ' order by wanted.place)
    into problems
    from (
        values
            (1, 'id', 'uuid', array['uuid']),
            (2, 'provider', 'text', array['text', 'varchar', 'bpchar']),
            (3, 'port_api', 'an integer', array['int4', 'int2', 'int8']),
            (4, 'api_key', 'text', array['text', 'varchar', 'bpchar']),
            (5, 'account', 'text', array['text', 'varchar', 'bpchar']),
            (6, 'auth_status', 'text', array['text', 'varchar']),
            (7, 'updated_at', 'a timestamp', array['timestamp', 'timestamptz'])
    ) as wanted (place, name, types, names)
    left join pg_catalog.pg_attribute as a
        on a.attrelid = relation and a.attname = wanted.name and a.attnum > 0 and not a.attisdropped
    left join pg_catalog.pg_type as t on t.oid = a.atttypid
    where a.attname is null or t.typname <> all (wanted.names);
    if problems is not null then
        raise exception 'table % cannot be watched: %', relation, problems
            using errcode = 'undefined_column',
                  hint = 'Name the table in which the manager keeps its instances (AUTH_RECONCILER_TABLE).';
    end if;
    -- Rows are looked up and locked one by one; without a unique index each look would read the table.
    if not exists (
        select
        from pg_catalog.pg_index as i
        join pg_catalog.pg_attribute as a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
        where i.indrelid = relation and i.indisunique and i.indnkeyatts = 1 and i.indpred is null
            and i.indisvalid and a.attname = 'id'
    ) then
        raise exception 'table % cannot be watched: column id has no unique index', relation
            using errcode = 'object_not_in_prerequisite_state',
                  hint = 'Make id the primary key.';
    end if;
end
$body$;

comment on function auth_reconciler.check_watchable(regclass) is
    'Raises an error that names every column that a table lacks to be watched.';

create or replace function auth_reconciler.is_watched(relation regclass, assigned boolean, typed boolean)
returns boolean
language sql
as $body$
    select exists (
        select
        from auth_reconciler.watched_table as w
        where w.relation = is_watched.relation and w.assigned = is_watched.assigned
            and w.has_type_instance = is_watched.typed
    )
    and cardinality(auth_reconciler.missing_triggers(relation, assigned)) = 0
$body$;

comment on function auth_reconciler.is_watched(regclass, boolean, boolean) is
    'Whether a table is watched in just this way, with all triggers attached and enabled.';

create or replace function auth_reconciler.watch(relation regclass, assigned boolean default false) returns text
language plpgsql
as $body$
declare
    typed boolean;
    known auth_reconciler.watched_table;
    facts text;
    found_rows bigint;
begin
    perform auth_reconciler.check_watchable(relation);
    typed := exists (
        select
        from pg_catalog.pg_attribute as a
        join pg_catalog.pg_type as t on t.oid = a.atttypid
        -- Of another kind than the manager's it says nothing to us.
        where a.attrelid = relation and a.attname = 'type_instance' and not a.attisdropped
            and t.typelem in ('text'::regtype, 'varchar'::regtype)
    );
    select * into known from auth_reconciler.watched_table as w where w.relation = watch.relation;
    if auth_reconciler.is_watched(relation, assigned, typed) then
        return format('%s is watched already', relation);
    end if;
    if current_setting('max_prepared_transactions')::integer > 0 then
        raise warning 'max_prepared_transactions is %: a transaction that changes % and is then prepared will fail, because NOTIFY cannot be part of PREPARE TRANSACTION',
            current_setting('max_prepared_transactions'), relation;
    end if;

    -- A trigger that is no longer wanted can only be dropped under the stronger lock. One lock, not one
    -- after the other: what is held while we wait for the second is held against the manager.
    perform auth_reconciler.lock_briefly(
        relation, case when known.assigned and not assigned then 'access exclusive' else 'share row exclusive' end);
    -- Somebody else may have done it while we waited.
    if auth_reconciler.is_watched(relation, assigned, typed) then
        return format('%s is watched already', relation);
    end if;
    if known.assigned and not assigned then
        execute format('drop trigger if exists auth_reconciler_assigned on %s', relation);
    end if;
    insert into auth_reconciler.watched_table as w (relation, has_type_instance, assigned)
    values (watch.relation, typed, watch.assigned)
    on conflict on constraint watched_table_relation_key do update
        set has_type_instance = excluded.has_type_instance, assigned = excluded.assigned
    returning * into known;

    -- WHEN, not UPDATE OF: a BEFORE trigger may change a column that the statement did not name.
    facts := 'old.id is distinct from new.id'
        || ' or old.api_key is distinct from new.api_key'
        || ' or old.account is distinct from new.account'
        || ' or old.port_api is distinct from new.port_api'
        || ' or old.provider is distinct from new.provider'
        || case when typed then ' or old.type_instance is distinct from new.type_instance' else '' end;
    execute format(
        $sql$
        create or replace trigger auth_reconciler_insert after insert on %1$s
            for each row execute function auth_reconciler.log_change(%2$L);
        create or replace trigger auth_reconciler_delete after delete on %1$s
            for each row execute function auth_reconciler.log_change(%2$L);
        create or replace trigger auth_reconciler_truncate after truncate on %1$s
            for each statement execute function auth_reconciler.log_change(%2$L);
        create or replace trigger auth_reconciler_update after update on %1$s
            for each row when (
                %3$s
                or (
                    old.auth_status is distinct from new.auth_status
                    -- Our own write is marked with key and value; only exactly that is no drift. A
                    -- marker of an earlier transaction reads as the empty string, not as null.
                    and coalesce(pg_catalog.current_setting('auth_reconciler.writing', true), '')
                        is distinct from %2$L || '/' || new.id::text || '/' || coalesce(new.auth_status::text, '')
                )
            )
            execute function auth_reconciler.log_change(%2$L);
        $sql$,
        relation, known.id::text, facts);
    if assigned then
        execute format(
            $sql$
            create or replace trigger auth_reconciler_assigned after update of api_key, account on %1$s
                for each row when (not (%3$s))
                execute function auth_reconciler.log_change(%2$L, 'assigned');
            $sql$,
            relation, known.id::text, facts);
    end if;
    execute format(
        $sql$
        alter table %1$s enable trigger auth_reconciler_insert, enable trigger auth_reconciler_delete,
            enable trigger auth_reconciler_truncate, enable trigger auth_reconciler_update
        $sql$
        || case when assigned then ', enable trigger auth_reconciler_assigned' else '' end,
        relation);

    -- After the triggers: whatever is committed from now on is logged, and whatever was is here.
    execute format(
        'insert into auth_reconciler.change (watched_id, instance_id, cause) select %L::integer, id, ''watch'' from %s',
        known.id, relation);
    get diagnostics found_rows = row_count;
    perform pg_notify('auth_reconciler', 'scan');
    return format('%s is watched, %s rows will be looked at', relation, found_rows);
end
$body$;

comment on function auth_reconciler.watch(regclass, boolean) is
    'Attaches the triggers to a table of instances and queues a look at every row. With assigned => true a write that repeats api_key or account counts, too: the only sign of a restarted container where no Docker Engine can be reached.';

create or replace function auth_reconciler.detach(relation regclass) returns void
language plpgsql
as $body$
declare
    name text;
begin
    foreach name in array array['insert', 'delete', 'truncate', 'update', 'assigned'] loop
        if exists (
            select from pg_catalog.pg_trigger as t
            where t.tgrelid = relation and t.tgname = 'auth_reconciler_' || name
        ) then
            execute format('drop trigger auth_reconciler_%s on %s', name, relation);
        end if;
    end loop;
end
$body$;

comment on function auth_reconciler.detach(regclass) is
    'Drops our triggers from a table. Call it with the table locked, or be ready to wait.';

create or replace function auth_reconciler.unwatch(relation regclass) returns text
language plpgsql
as $body$
declare
    removed integer;
begin
    -- A table that was dropped leaves its number behind, and is named by it.
    if exists (select from pg_catalog.pg_class as c where c.oid = relation) then
        perform auth_reconciler.lock_briefly(relation, 'access exclusive');
    end if;
    perform auth_reconciler.detach(relation);
    delete from auth_reconciler.watched_table as w where w.relation = unwatch.relation returning w.id into removed;
    if removed is null then
        return format('%s was not watched', relation);
    end if;
    delete from auth_reconciler.change as c where c.watched_id = removed;
    delete from auth_reconciler.instance as i where i.watched_id = removed;
    delete from auth_reconciler.transition as t where t.watched_id = removed;
    perform pg_notify('auth_reconciler', 'scan');
    return format('%s is no longer watched, what was recorded of its rows is deleted', relation);
end
$body$;

comment on function auth_reconciler.unwatch(regclass) is
    'Removes the triggers from a table and everything that was recorded of its rows.';
-- The only way by which a verdict reaches a watched table. Several statements in one READ COMMITTED
-- transaction, one round trip: each statement sees what was committed before it, which a single
-- statement with CTEs does not.

create or replace function auth_reconciler.lock_key(watched_id integer, instance_id uuid) returns boolean
language sql
as $body$
    -- The first number keeps our keys apart from everybody else's. Two instances with one hash wait
    -- for each other for a moment, nothing more.
    select pg_try_advisory_xact_lock(1635087464, hashtext(watched_id || '/' || instance_id))
$body$;

comment on function auth_reconciler.lock_key(integer, uuid) is
    'One record of an instance at a time, also when there is no row of ours yet that could be locked. Never waits: false means busy.';

create or replace function auth_reconciler.refusal(
    epoch uuid, watched_id integer, instance_id uuid, version uuid, changes bigint[]
) returns text
language plpgsql
as $body$
declare
    current_epoch uuid;
    recorded uuid;
begin
    -- (a) The epoch in which the process led before it read; none stands after a crash of the server
    -- until somebody leads again. FOR SHARE makes a take-over wait until this
    -- transaction has ended, so nothing of an old epoch is committed after it.
    select l.epoch into current_epoch from auth_reconciler.leadership as l for share;
    if current_epoch is distinct from refusal.epoch then
        return 'epoch';
    end if;
    -- (b) Our own row is still the one that was read.
    select i.version into recorded
    from auth_reconciler.instance as i
    where i.watched_id = refusal.watched_id and i.instance_id = refusal.instance_id
    for update;
    if recorded is distinct from refusal.version then
        return 'version';
    end if;
    -- (c) Nothing happened to this instance beside what was read.
    if exists (
        select
        from auth_reconciler.change as c
        where c.watched_id = refusal.watched_id and c.instance_id = refusal.instance_id
            -- Hashed, whatever the plan: a row may have collected tens of thousands of changes.
            and c.id not in (select unnest(refusal.changes))
    ) then
        return 'change';
    end if;
    return null;
end
$body$;

comment on function auth_reconciler.refusal(uuid, integer, uuid, uuid, bigint[]) is
    'The fence: null when a verdict may be recorded, else which of its three parts refuses it: epoch, version or change.';

create or replace function auth_reconciler.spend(
    verdict auth_reconciler.instance, changes bigint[]
) returns void
language sql
as $body$
    update auth_reconciler.instance as i
    set version = gen_random_uuid(),
        generation = counted.last,
        corrections_spent = (spend.verdict).corrections_spent,
        corrections_since = (spend.verdict).corrections_since,
        contested = (spend.verdict).contested,
        hold_until = (spend.verdict).hold_until,
        trouble_at = case when (spend.verdict).contested > 0
            then least(i.trouble_at, clock_timestamp()) else i.trouble_at end,
        next_attempt_at = case when (spend.verdict).contested > 0
            then (spend.verdict).hold_until else i.next_attempt_at end
    from (
        select max(c.id) as last
        from auth_reconciler.change as c
        where c.id = any (spend.changes) and c.cause = 'drift'
    ) as counted
    where i.watched_id = (spend.verdict).watched_id and i.instance_id = (spend.verdict).instance_id
        -- Once for each: a row that is merely held for long is no fight.
        and counted.last > i.generation
$body$;

comment on function auth_reconciler.spend(auth_reconciler.instance, bigint[]) is
    'Counts a look at a foreign write though its verdict was not recorded: else a writer that is faster than our looks would never be contested. Call it behind the fence.';

create or replace function auth_reconciler.record(
    p_epoch uuid,
    p_version uuid,
    p_changes bigint[],
    p_verdict jsonb,
    p_context jsonb,
    out outcome text,
    out from_status text,
    out reaction_ms double precision
)
language plpgsql
as $body$
#variable_conflict use_column
declare
    verdict auth_reconciler.instance := jsonb_populate_record(null::auth_reconciler.instance, p_verdict);
    woken_ms constant double precision := (p_context ->> 'woken_ms')::double precision;
    retry_ms double precision := (p_context ->> 'retry_ms')::double precision;
    trouble_ms double precision := (p_context ->> 'trouble_ms')::double precision;
    overridden_retry_ms constant double precision := (p_context ->> 'overridden_retry_ms')::double precision;
    kept_path constant text := current_setting('search_path');
    relation text;
    present boolean;
    current_status text;
    written text;
    wrote boolean := false;
    overridden boolean := false;
    known auth_reconciler.instance;
    noticed_at timestamptz;
    this_moment timestamptz;
begin
    -- The record is atomic with the removal of the changes it answers for, so a server crash
    -- re-opens the work; and the row lock, which can mislead the manager, does not span an fsync.
    perform set_config('synchronous_commit', 'off', true);

    select w.relation::text into relation from auth_reconciler.watched_table as w where w.id = verdict.watched_id;
    if relation is null then
        outcome := 'unwatched';
        return;
    end if;
    if not auth_reconciler.lock_key(verdict.watched_id, verdict.instance_id) then
        outcome := 'busy';
        return;
    end if;
    execute format('select true, auth_status::text from %s where id = $1', relation)
        into present, current_status using verdict.instance_id;
    if present is null then
        outcome := 'gone';
        return;
    end if;

    -- 1. Lock the watched row, only if it will be written, and never wait for it. Whether it will be
    -- is decided here and not again: a change after the fence must not be overwritten.
    if verdict.auth_status is not null and current_status is distinct from verdict.auth_status then
        present := null;
        execute format('select true, auth_status::text from %s where id = $1 for no key update skip locked', relation)
            into present, current_status using verdict.instance_id;
        if present is null then
            execute format('select true from %s where id = $1', relation) into present using verdict.instance_id;
            outcome := case when present then 'busy' else 'gone' end;
            if outcome = 'busy' and coalesce(auth_reconciler.refusal(
                p_epoch, verdict.watched_id, verdict.instance_id, p_version, p_changes), 'change') = 'change'
            then
                perform auth_reconciler.spend(verdict, p_changes);
            end if;
            return;
        end if;
    end if;

    -- 2. The fence.
    outcome := auth_reconciler.refusal(p_epoch, verdict.watched_id, verdict.instance_id, p_version, p_changes);
    if outcome is not null then
        if outcome = 'change' then
            perform auth_reconciler.spend(verdict, p_changes);
        end if;
        return;
    end if;

    select * into known
    from auth_reconciler.instance as i
    where i.watched_id = verdict.watched_id and i.instance_id = verdict.instance_id;
    this_moment := clock_timestamp();
    if known.version is null then
        -- The first record of this instance. Of two at once, one inserts; the other is refused here,
        -- before it has written anything.
        verdict.version := gen_random_uuid();
        verdict.generation := 0;
        verdict.since := this_moment;
        verdict.settled := false;
        verdict.reaction_ms := 0;
        verdict.recorded_at := this_moment;
        verdict.looks := 0;
        insert into auth_reconciler.instance select verdict.*
        on conflict on constraint instance_pkey do nothing;
        if not found then
            outcome := 'version';
            return;
        end if;
    end if;

    -- 3. Write the column if it differs.
    from_status := current_status;
    if verdict.auth_status is not null and current_status is distinct from verdict.auth_status then
        perform set_config(
            'auth_reconciler.writing',
            verdict.watched_id || '/' || verdict.instance_id || '/' || verdict.auth_status,
            true);
        -- The table's own triggers run in it, deferred ones too, and find what they name without its
        -- schema where the session would find it, not where our statements do.
        perform set_config(
            'search_path',
            coalesce(nullif(current_setting('auth_reconciler.session_path', true), ''), kept_path),
            true);
        execute format(
            'update %s set auth_status = $2, updated_at = localtimestamp where id operator(pg_catalog.=) $1 '
            'returning auth_status::pg_catalog.text',
            relation)
            into written using verdict.instance_id, verdict.auth_status;
        set constraints all immediate;
        perform pg_catalog.set_config('search_path', kept_path, true);
        perform set_config('auth_reconciler.writing', '', true);
        -- A BEFORE trigger of somebody else may have replaced the value, or stopped the write.
        overridden := written is distinct from verdict.auth_status;
        wrote := not overridden;
    end if;

    -- 4. Note what was found, and delete exactly the changes that were read.
    this_moment := clock_timestamp();
    select min(c.changed_at) into noticed_at from auth_reconciler.change as c where c.id = any (p_changes);
    reaction_ms := coalesce(extract(epoch from this_moment - noticed_at)::double precision * 1000, woken_ms);
    if known.auth_status is not distinct from verdict.auth_status and known.reason = verdict.reason then
        verdict.since := known.since;
    else
        verdict.since := this_moment;
    end if;
    if overridden then
        verdict.message := format(
            'the verdict is %s, but a trigger of table %s made it %s; remove that trigger or unwatch the table',
            verdict.auth_status, relation, coalesce(written, 'stay ' || coalesce(current_status, 'null')));
        verdict.contested := greatest(verdict.contested, 1);
        retry_ms := least(retry_ms, overridden_retry_ms);
        trouble_ms := 0;
    end if;
    update auth_reconciler.instance as i
    set version = gen_random_uuid(),
        generation = greatest(known.generation, (select max(change_id) from unnest(p_changes) as change_id), 0),
        auth_status = verdict.auth_status,
        reason = verdict.reason,
        message = verdict.message,
        since = verdict.since,
        settled = retry_ms is null,
        next_attempt_at = this_moment + retry_ms * interval '1 ms',
        trouble_at = verdict.since + trouble_ms * interval '1 ms',
        cause = verdict.cause,
        reaction_ms = record.reaction_ms,
        recorded_at = this_moment,
        looks = coalesce(known.looks, 0) + 1,
        attempts = verdict.attempts,
        misses = verdict.misses,
        first_miss_at = verdict.first_miss_at,
        ready_at = verdict.ready_at,
        started_at = verdict.started_at,
        account_at = verdict.account_at,
        corrections_spent = verdict.corrections_spent,
        corrections_since = verdict.corrections_since,
        contested = verdict.contested,
        hold_until = verdict.hold_until,
        container_engine = verdict.container_engine,
        container_id = verdict.container_id,
        container_name = verdict.container_name,
        container_state = verdict.container_state,
        container_started_at = verdict.container_started_at,
        container_network = verdict.container_network
    where i.watched_id = verdict.watched_id and i.instance_id = verdict.instance_id;

    if not wrote then
        -- Somebody else wrote the right value before us; what moved is our verdict.
        from_status := known.auth_status;
    end if;
    -- Hands off moves nothing.
    if not overridden and verdict.auth_status is not null and from_status is distinct from verdict.auth_status
        and (wrote or known.version is not null)
    then
        insert into auth_reconciler.transition
            (watched_id, instance_id, at, from_status, to_status, reason, message, cause, reaction_ms)
        values (
            verdict.watched_id, verdict.instance_id, this_moment, record.from_status, verdict.auth_status,
            verdict.reason, verdict.message, verdict.cause, record.reaction_ms);
        perform auth_reconciler.prune(
            verdict.watched_id, verdict.instance_id,
            (p_context ->> 'history_per_instance')::integer,
            (p_context ->> 'history_max_age_ms')::double precision * interval '1 ms');
    end if;
    delete from auth_reconciler.change as c where c.id = any (p_changes);
    outcome := case when overridden then 'overridden' when wrote then 'written' else 'right' end;
end
$body$;

comment on function auth_reconciler.record(uuid, uuid, bigint[], jsonb, jsonb) is
    'Records one verdict behind the fence and writes auth_status if it differs. Outcome: written, right (it was so already), overridden (a trigger of the table replaced it), busy (somebody holds the row), gone, unwatched, or the part of the fence that refused: epoch, version, change.';

create or replace function auth_reconciler.prune(
    watched_id integer, instance_id uuid, per_instance integer, max_age interval
) returns void
language sql
as $body$
    delete from auth_reconciler.transition as t
    where t.watched_id = prune.watched_id and t.instance_id = prune.instance_id
        and t.id <= (
            select kept.id
            from auth_reconciler.transition as kept
            where kept.watched_id = prune.watched_id and kept.instance_id = prune.instance_id
            order by kept.id desc
            offset prune.per_instance limit 1
        );
    -- A few old ones of any instance go with each new one, so the whole shrinks by itself.
    delete from auth_reconciler.transition as t
    where t.id in (
        select old.id
        from auth_reconciler.transition as old
        where old.at < clock_timestamp() - prune.max_age
        order by old.at
        limit 10
    );
$body$;

comment on function auth_reconciler.prune(integer, uuid, integer, interval) is
    'Keeps the history of an instance within its count, and takes some of what is too old with it.';

create or replace function auth_reconciler.forget(
    p_epoch uuid, p_watched_id integer, p_instance_id uuid, p_version uuid, p_changes bigint[]
) returns text
language plpgsql
as $body$
declare
    refused text;
    relation text;
    present boolean := false;
begin
    perform set_config('synchronous_commit', 'off', true);
    if not auth_reconciler.lock_key(p_watched_id, p_instance_id) then
        return 'busy';
    end if;
    select w.relation::text into relation from auth_reconciler.watched_table as w where w.id = p_watched_id;
    if relation is not null then
        execute format('select exists (select from %s where id = $1)', relation) into present using p_instance_id;
    end if;
    if present then
        -- It came back since it was read.
        return 'change';
    end if;
    refused := auth_reconciler.refusal(p_epoch, p_watched_id, p_instance_id, p_version, p_changes);
    if refused is not null then
        return refused;
    end if;
    delete from auth_reconciler.instance as i
    where i.watched_id = p_watched_id and i.instance_id = p_instance_id;
    delete from auth_reconciler.change as c where c.id = any (p_changes);
    return 'forgotten';
end
$body$;

comment on function auth_reconciler.forget(uuid, integer, uuid, uuid, bigint[]) is
    'Answers for the changes of a row that is gone, behind the same fence as record().';
-- Who leads. The advisory lock is held by the session of the ear and ends with it; the epoch is what
-- keeps a former leader, whose ear is gone and whose pool lives, from recording.

create or replace function auth_reconciler.leadership_lock() returns bigint
language sql
immutable
as $body$ select 7022647185898824559 $body$;

comment on function auth_reconciler.leadership_lock() is
    'Key of the advisory lock that the active process of this database holds.';

create or replace function auth_reconciler.take_over(p_epoch uuid) returns bigint
language plpgsql
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
    insert into auth_reconciler.leadership as l (epoch, term, pid, backend_start, taken_at)
    select p_epoch, 1, a.pid, a.backend_start, clock_timestamp()
    from pg_catalog.pg_stat_activity as a where a.pid = pg_backend_pid()
    on conflict on constraint leadership_pkey do update
        set epoch = excluded.epoch,
            term = l.term + 1,
            pid = excluded.pid,
            backend_start = excluded.backend_start,
            taken_at = excluded.taken_at
    returning l.term into new_term;
    return new_term;
end
$body$;

comment on function auth_reconciler.take_over(uuid) is
    'Begins a new epoch for the session that holds the leadership lock; returns the number of the term.';

create or replace function auth_reconciler.expand_truncations() returns bigint
language sql
as $body$
    with truncation as (
        delete from auth_reconciler.change as c where c.instance_id is null returning c.watched_id, c.changed_at
    ),
    expanded as (
        insert into auth_reconciler.change (watched_id, instance_id, cause, changed_at)
        select i.watched_id, i.instance_id, 'truncate', min(t.changed_at)
        from truncation as t
        join auth_reconciler.instance as i on i.watched_id = t.watched_id
        group by i.watched_id, i.instance_id
        returning 1
    )
    select count(*) from expanded
$body$;

comment on function auth_reconciler.expand_truncations() is
    'Turns the change of a truncated table into one change for each instance that was recorded of it.';
-- Whether the process that leads sees its container engine. Written when that changes, never by the clock.

create or replace function auth_reconciler.note_engine(
    p_epoch uuid, p_address text, p_seen boolean, p_detail text
) returns boolean
language plpgsql
as $body$
begin
    perform set_config('synchronous_commit', 'off', true);
    -- Its share keeps a take-over waiting: nothing of an old epoch is written over a new one.
    perform from auth_reconciler.leadership as l where l.epoch = p_epoch for share;
    if not found then
        return false;
    end if;
    insert into auth_reconciler.engine as e (epoch, address, seen, since, detail)
    values (p_epoch, p_address, p_seen, clock_timestamp(), p_detail)
    on conflict on constraint engine_pkey do update
        set epoch = excluded.epoch,
            address = excluded.address,
            seen = excluded.seen,
            -- Out of sight since the first failure, not since the last one; a new leader begins anew.
            since = case
                when e.epoch = excluded.epoch and e.seen = excluded.seen and e.address = excluded.address
                then e.since else excluded.since end,
            detail = excluded.detail;
    return true;
end
$body$;

comment on function auth_reconciler.note_engine(uuid, text, boolean, text) is
    'Notes whether the process of this epoch sees its container engine; false if it no longer leads.';
-- What an operator calls.

create or replace function auth_reconciler.reconcile(instance_id uuid) returns text
language plpgsql
as $body$
declare
    watched auth_reconciler.watched_table;
    present boolean;
    found_in text[] := '{}';
begin
    for watched in
        select w.* from auth_reconciler.watched_table as w
        -- A table that was dropped leaves its number behind.
        where exists (select from pg_catalog.pg_class as c where c.oid = w.relation)
        order by w.id
    loop
        execute format('select true from %s where id = $1', watched.relation) into present using instance_id;
        if present or exists (
            select from auth_reconciler.instance as i
            where i.watched_id = watched.id and i.instance_id = reconcile.instance_id
        ) then
            insert into auth_reconciler.change (watched_id, instance_id, cause)
            values (watched.id, reconcile.instance_id, 'operator');
            perform pg_notify('auth_reconciler', watched.id || '/' || instance_id || '/operator');
            found_in := found_in || watched.relation::text;
        end if;
    end loop;
    if found_in = '{}' then
        return format('no watched table has an instance %s', instance_id);
    end if;
    return format('%s of %s will be looked at', instance_id, array_to_string(found_in, ' and '));
end
$body$;

comment on function auth_reconciler.reconcile(uuid) is
    'Has an instance looked at now, whatever is recorded of it.';

create or replace function auth_reconciler.reconcile_all() returns text
language plpgsql
as $body$
declare
    watched auth_reconciler.watched_table;
    rows_queued bigint;
    total bigint := 0;
begin
    for watched in
        select w.* from auth_reconciler.watched_table as w
        -- A table that was dropped leaves its number behind.
        where exists (select from pg_catalog.pg_class as c where c.oid = w.relation)
        order by w.id
    loop
        execute format(
            $sql$
            insert into auth_reconciler.change (watched_id, instance_id, cause)
            select %1$L::integer, id, 'operator' from %2$s
            union
            select watched_id, instance_id, 'operator' from auth_reconciler.instance where watched_id = %1$L::integer
            $sql$,
            watched.id, watched.relation);
        get diagnostics rows_queued = row_count;
        total := total + rows_queued;
    end loop;
    perform pg_notify('auth_reconciler', 'scan');
    return format('%s instances will be looked at', total);
end
$body$;

comment on function auth_reconciler.reconcile_all() is
    'Has every instance of every watched table looked at now.';

create or replace function auth_reconciler.watched_rows()
returns table (watched_id integer, instance_id uuid, provider text, auth_status text)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $body$
declare
    watched auth_reconciler.watched_table;
begin
    for watched in
        select w.* from auth_reconciler.watched_table as w
        -- A table that was dropped leaves its number behind.
        where exists (select from pg_class as c where c.oid = w.relation)
        order by w.id
    loop
        return query execute format(
            'select %L::integer, id, provider::text, auth_status::text from %s', watched.id, watched.relation);
    end loop;
end
$body$;

comment on function auth_reconciler.watched_rows() is
    'The rows of all watched tables as they are now. A function, because a view over the manager''s tables would stand in the way of its own migrations.';

revoke all on function auth_reconciler.watched_rows() from public;
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
-- Nobody but the owner calls anything here, unless it is granted.

revoke all on schema auth_reconciler from public;
revoke all on all functions in schema auth_reconciler from public;
