-- The schema as version 3 made it, tables and routines, word for word: what an upgrade meets. Never edited.
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
-- What an operator asks and does: who wrote what, what happened to an instance, hands off, guard.

-- Nullable and without a default: no row is rewritten, and the manager's triggers wait for a moment only.
alter table auth_reconciler.change
    add column from_status text,
    add column to_status text,
    add column application text,
    add column role text,
    add column kept boolean,
    add column note text;

comment on column auth_reconciler.change.from_status is 'What auth_status was before a foreign write of it; null for other changes.';
comment on column auth_reconciler.change.to_status is 'What the foreign write wanted it to be.';
comment on column auth_reconciler.change.application is 'application_name of the session that wrote.';
comment on column auth_reconciler.change.role is
    'Role of the session that wrote; with "as" and another role where it had set one.';
comment on column auth_reconciler.change.kept is
    'True for a foreign write of auth_status that guard put aside: the column kept the true value.';
comment on column auth_reconciler.change.note is 'What an operator did, for people.';

alter table auth_reconciler.instance
    add column epoch uuid,
    -- Verdicts recorded earlier say nothing of it.
    add column final boolean not null default false;

comment on column auth_reconciler.instance.epoch is
    'The epoch in which the verdict was recorded; null when a pause or a resume took it back since. guard keeps a verdict only within its epoch.';
comment on column auth_reconciler.instance.final is
    'Whether only an event can change the verdict, the hold of a contested instance aside.';

alter table auth_reconciler.leadership add column application text;

comment on column auth_reconciler.leadership.application is
    'application_name of that session: names version, host and process even when it is gone.';

create table auth_reconciler.pause (
    watched_id integer not null,
    instance_id uuid not null,
    reason text not null,
    paused_by text not null,
    paused_at timestamptz not null,
    constraint pause_pkey primary key (watched_id, instance_id)
);

comment on table auth_reconciler.pause is
    'Instances that an operator told us to leave alone, until resume(). Filled by pause().';
comment on column auth_reconciler.pause.watched_id is 'The table, see watched_table.';
comment on column auth_reconciler.pause.instance_id is 'The row.';
comment on column auth_reconciler.pause.reason is 'Why, in the operator''s words.';
comment on column auth_reconciler.pause.paused_by is 'Who did it.';
comment on column auth_reconciler.pause.paused_at is 'Since when it is paused.';

create table auth_reconciler.journal (
    id bigint generated always as identity constraint journal_pkey primary key,
    watched_id integer not null,
    instance_id uuid not null,
    at timestamptz not null,
    act text not null constraint journal_act_check check (act in ('change', 'drift', 'guarded', 'operator', 'verdict', 'gone')),
    cause text not null,
    times bigint not null,
    first_at timestamptz not null,
    from_status text,
    to_status text,
    reason text,
    message text,
    application text,
    role text,
    looks bigint
);

create index journal_instance_idx on auth_reconciler.journal (watched_id, instance_id, id);
create index journal_at_idx on auth_reconciler.journal (at);

comment on table auth_reconciler.journal is
    'What looks have answered for and found, beside the transitions. Written with records only, bounded as they are. Read auth_reconciler.explain() and drift instead.';
comment on column auth_reconciler.journal.id is 'Order of the entries.';
comment on column auth_reconciler.journal.watched_id is 'The table, see watched_table.';
comment on column auth_reconciler.journal.instance_id is 'The row.';
comment on column auth_reconciler.journal.at is 'When it happened; the last time if it happened more than once.';
comment on column auth_reconciler.journal.act is
    'change (of the row), drift (a foreign write of auth_status), guarded (one that was put aside), operator (somebody asked), verdict (a look that moved no status but told something), gone (the row).';
comment on column auth_reconciler.journal.cause is 'What changed, or what led to the look.';
comment on column auth_reconciler.journal.times is 'How often, where one look answered for several alike.';
comment on column auth_reconciler.journal.first_at is 'When the first of them happened.';
comment on column auth_reconciler.journal.from_status is 'What auth_status was before.';
comment on column auth_reconciler.journal.to_status is 'What it was written to be, or the verdict.';
comment on column auth_reconciler.journal.reason is 'Of a verdict: why, in one word.';
comment on column auth_reconciler.journal.message is 'Why, for a person; of an operator: what was done.';
comment on column auth_reconciler.journal.application is 'application_name of the session that wrote.';
comment on column auth_reconciler.journal.role is 'Role of the session that wrote.';
comment on column auth_reconciler.journal.looks is 'Of a verdict: looks recorded so far, this one included.';

-- Where to look has changed.
comment on schema auth_reconciler is
    'auth-reconciler: keeps auth_status of the watched tables true. Start with: select * from auth_reconciler.problems; \d+ explains every view.';
comment on table auth_reconciler.instance is
    'What was recorded of each instance: the last verdict and what the next one builds on. Read auth_reconciler.instances instead.';
comment on column auth_reconciler.change.cause is
    'What changed: insert, delete, id, api_key, account, port_api, provider, type_instance, assigned, drift (auth_status, by somebody else), truncate, watch, operator (somebody asked, paused or resumed), resync (a change that could not be logged).';
-- Views are dropped and made anew, and what was granted on them would go with them. Kept for the length of
-- this transaction, in a setting because a temporary table would leave a trace in the catalog, and given
-- back by the last of these files. Rights on columns of views are kept, too.

select set_config('auth_reconciler.kept_grants', coalesce(jsonb_agg(g), '[]')::text, true)
from (
    select c.relname as name, null::name as part, acl.grantee, acl.privilege_type as privilege, acl.is_grantable
    from pg_catalog.pg_class as c
    cross join lateral aclexplode(c.relacl) as acl
    where c.relnamespace = 'auth_reconciler'::regnamespace and c.relkind = 'v' and acl.grantee <> c.relowner
    union all
    select c.relname, a.attname, acl.grantee, acl.privilege_type, acl.is_grantable
    from pg_catalog.pg_class as c
    join pg_catalog.pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    cross join lateral aclexplode(a.attacl) as acl
    where c.relnamespace = 'auth_reconciler'::regnamespace and c.relkind = 'v' and acl.grantee <> c.relowner
) as g;

drop view if exists auth_reconciler.problems;
drop view if exists auth_reconciler.status;
drop view if exists auth_reconciler.backlog;
drop view if exists auth_reconciler.drift;
drop view if exists auth_reconciler.latency;
drop view if exists auth_reconciler.tables;
drop view if exists auth_reconciler.history;
drop view if exists auth_reconciler.transitions;
drop view if exists auth_reconciler.instances;
drop view if exists auth_reconciler.reconcilers;
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
-- Attaching and removing the triggers. Whoever changes the watched table's schema waits at most
-- 200 ms at a time for its lock, because the manager's statements queue behind a waiting lock.
--
-- The search path is pinned: these are called by the owner, in whose own path somebody else may have
-- put a function or an operator that fits better than ours.

create or replace function auth_reconciler.lock_briefly(relation regclass, mode text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
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
set search_path = pg_catalog, pg_temp
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

create or replace function auth_reconciler.facts_differ(typed boolean) returns text
language sql
immutable
as $body$
    -- WHEN, not UPDATE OF: a BEFORE trigger may change a column that the statement did not name.
    select 'old.id is distinct from new.id'
        || ' or old.api_key is distinct from new.api_key'
        || ' or old.account is distinct from new.account'
        || ' or old.port_api is distinct from new.port_api'
        || ' or old.provider is distinct from new.provider'
        || case when typed then ' or old.type_instance is distinct from new.type_instance' else '' end
$body$;

comment on function auth_reconciler.facts_differ(boolean) is
    'Text of the trigger condition that something changed of what verdicts are made from.';

create or replace function auth_reconciler.foreign_write(watched_id integer) returns text
language sql
immutable
as $body$
    -- Our own write is marked with key and value; only exactly that is no drift. A marker of an earlier
    -- transaction reads as the empty string, not as null.
    select pg_catalog.format(
        $sql$old.auth_status is distinct from new.auth_status
                    and coalesce(pg_catalog.current_setting('auth_reconciler.writing', true), '')
                        is distinct from %L || '/' || new.id::text || '/' || coalesce(new.auth_status::text, '')$sql$,
        watched_id::text)
$body$;

comment on function auth_reconciler.foreign_write(integer) is
    'Text of the trigger condition that auth_status changed and it was not our own record.';

create or replace function auth_reconciler.watch(relation regclass, assigned boolean default false) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
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

    facts := auth_reconciler.facts_differ(typed);
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
                %3$s or (%4$s)
            )
            execute function auth_reconciler.log_change(%2$L);
        $sql$,
        relation, known.id::text, facts, auth_reconciler.foreign_write(known.id));
    if auth_reconciler.is_guarded(relation) then
        perform auth_reconciler.attach_guard(relation, known.id, typed);
    end if;
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
set search_path = pg_catalog, pg_temp
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
    if auth_reconciler.is_guarded(relation) then
        execute format('drop trigger zz_auth_reconciler_guard on %s', relation);
    end if;
end
$body$;

comment on function auth_reconciler.detach(regclass) is
    'Drops our triggers from a table. Call it with the table locked, or be ready to wait.';

create or replace function auth_reconciler.unwatch(relation regclass) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
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
    delete from auth_reconciler.journal as j where j.watched_id = removed;
    delete from auth_reconciler.pause as p where p.watched_id = removed;
    perform pg_notify('auth_reconciler', 'scan');
    return format('%s is no longer watched, what was recorded of its rows is deleted', relation);
end
$body$;

comment on function auth_reconciler.unwatch(regclass) is
    'Removes the triggers from a table and everything that was recorded of its rows.';
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
    -- As in log_change(), and counted together with its rings.
    max_rings constant integer := 64;
    rings integer;
    acting text;
    isolation text;
    recorded_in uuid;
begin
    begin
        acting := current_setting('role');
        isolation := current_setting('transaction_isolation');
        if isolation = 'serializable' then
            return new;
        end if;
        select i.epoch into recorded_in
        from auth_reconciler.instance as i
        where i.watched_id = watched and i.instance_id = new.id
            -- Without an epoch it was taken back, by a pause.
            and i.final and i.epoch is not null and i.auth_status = old.auth_status::text
            -- What was put aside before is no news.
            and not exists (
                select
                from auth_reconciler.change as c
                where c.watched_id = watched and c.instance_id = new.id and c.kept is not true
            );
        if not found then
            return new;
        end if;
        if pg_try_advisory_lock_shared(auth_reconciler.epoch_lock(recorded_in)) then
            perform pg_advisory_unlock_shared(auth_reconciler.epoch_lock(recorded_in));
            return new;
        end if;
        if isolation <> 'read committed' then
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
        insert into auth_reconciler.change
            (watched_id, instance_id, cause, from_status, to_status, application, role, kept)
        values (
            watched, new.id, 'drift', left(old.auth_status, 64), left(new.auth_status, 64),
            current_setting('application_name'),
            session_user || case when acting in ('none', session_user) then '' else ' as ' || acting end,
            true);
        rings := coalesce(nullif(current_setting('auth_reconciler.rings', true), ''), '0')::integer;
        if rings >= max_rings then
            perform pg_notify('auth_reconciler', 'scan');
        else
            perform set_config('auth_reconciler.rings', (rings + 1)::text, true);
            perform pg_notify('auth_reconciler', watched || '/' || new.id || '/drift');
        end if;
        new.auth_status := old.auth_status;
    exception when others then
        -- The write goes through as it came, and is logged as any other.
        null;
    end;
    return new;
end
$body$;

comment on function auth_reconciler.keep_status() is
    'Trigger of a guarded table: puts a foreign write of auth_status aside while our verdict on the row is final, of the living epoch, and nothing is unanswered.';

revoke all on function auth_reconciler.keep_status() from public;

create or replace function auth_reconciler.is_guarded(relation regclass) returns boolean
language sql
stable
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
        create or replace trigger zz_auth_reconciler_guard before update on %1$s
            for each row when (%3$s and not (%4$s))
            execute function auth_reconciler.keep_status(%2$L);
        -- Somebody may have disabled it.
        alter table %1$s enable trigger zz_auth_reconciler_guard;
        $sql$,
        relation, watched_id::text, auth_reconciler.foreign_write(watched_id), auth_reconciler.facts_differ(typed));
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
    'Has the database itself keep verdicts that are current: with true, a foreign write of auth_status that contradicts one is put aside (the rest of the statement goes through, RETURNING shows the kept value, drift shows the writer), so no reader sees a stale value. A verdict is current while it is final, was recorded in the term of the daemon that leads now, and no change of the instance waits for a look. The price: writers of auth_status are told nothing, a trigger reads our tables within such a write, and what only the writer knew of the world outside is true in the column only after the look that each such write causes. SERIALIZABLE transactions are never guarded. With false, such writes go through and are corrected.';
-- What is kept of what happened. Written and pruned in the transaction of a record or not at all: a quiet
-- fleet costs nothing, and without a daemon nothing but the change log grows.

create or replace function auth_reconciler.answer(watched_id integer, instance_id uuid, changes bigint[])
returns boolean
language plpgsql
as $body$
#variable_conflict use_column
begin
    with answered as (
        delete from auth_reconciler.change as c where c.id = any (answer.changes) returning c.*
    )
    insert into auth_reconciler.journal
        (watched_id, instance_id, at, act, cause, times, first_at, from_status, to_status, message, application, role)
    select
        answer.watched_id, answer.instance_id, max(a.changed_at),
        case when a.kept then 'guarded' when a.cause = 'drift' then 'drift' when a.cause = 'operator' then 'operator'
            else 'change' end,
        a.cause, count(*), min(a.changed_at), a.from_status, a.to_status, a.note, a.application, a.role
    from answered as a
    -- Those alike are one entry: a mad writer fills no history.
    group by a.cause, a.kept, a.from_status, a.to_status, a.note, a.application, a.role
    order by max(a.id) desc
    limit 20;
    return found;
end
$body$;

comment on function auth_reconciler.answer(integer, uuid, bigint[]) is
    'Takes the changes that a look has read out of the log and notes them in the journal, those alike as one entry. Call it behind the fence.';

create or replace function auth_reconciler.prune(
    watched_id integer, instance_id uuid, per_instance integer, max_age interval
) returns void
language plpgsql
as $body$
begin
    delete from auth_reconciler.transition as t
    where t.watched_id = prune.watched_id and t.instance_id = prune.instance_id
        and t.id <= (
            select kept.id
            from auth_reconciler.transition as kept
            where kept.watched_id = prune.watched_id and kept.instance_id = prune.instance_id
            order by kept.id desc
            offset prune.per_instance limit 1
        );
    delete from auth_reconciler.journal as j
    where j.watched_id = prune.watched_id and j.instance_id = prune.instance_id
        and j.id <= (
            select kept.id
            from auth_reconciler.journal as kept
            where kept.watched_id = prune.watched_id and kept.instance_id = prune.instance_id
            order by kept.id desc
            offset prune.per_instance limit 1
        );
    -- Some old ones of any instance go with each record, more than it can add, so the whole shrinks by
    -- itself. One record at a time: the others must neither wait for it nor meet it in another order.
    if not pg_try_advisory_xact_lock(1635087465, 0) then
        return;
    end if;
    delete from auth_reconciler.transition as t
    where t.id = any (array(
        select old.id
        from auth_reconciler.transition as old
        where old.at < clock_timestamp() - prune.max_age
        order by old.at
        limit 10
    ));
    delete from auth_reconciler.journal as j
    where j.id = any (array(
        select old.id
        from auth_reconciler.journal as old
        where old.at < clock_timestamp() - prune.max_age
        order by old.at
        limit 30
    ));
end
$body$;

comment on function auth_reconciler.prune(integer, uuid, integer, interval) is
    'Keeps the history of an instance within its count, and takes some of what is too old with it.';
-- How those who follow transitions live hear of them, and why it costs nothing while nobody does.
--
-- NOTIFY takes one lock for the whole server at commit, so a record rings only while somebody watches. Who
-- watches holds a lock, shared with all others who do; a record tries to take it from them, which is a look
-- into shared memory: no table is read, and pg_locks, which stops every locker of the server, is not asked.
--
-- What was decided before a watcher came must not slip past it. So a record that keeps silent holds a second
-- lock, shared with all other records, to the end of its transaction; a watcher that has taken the first lock
-- and listens waits for the second one once. After that every transition has been committed, and is read, or
-- rings, and is heard. A record never waits: one that cannot have the second lock rings.

create or replace function auth_reconciler.begin_watching() returns void
language plpgsql
as $body$
begin
    perform pg_advisory_lock_shared(1635087465, 1);
    -- While this waits, no record takes the other lock any more, so they cannot keep it waiting for long.
    perform pg_advisory_lock(1635087465, 2);
    perform pg_advisory_unlock(1635087465, 2);
end
$body$;

comment on function auth_reconciler.begin_watching() is
    'Has records ring on the channel auth_reconciler_watch with the number of each transition, until this session ends. LISTEN first and read afterwards: then nothing is missed. Through a transaction pooler it would be left behind in a session of somebody else.';

create or replace function auth_reconciler.tell_watchers(transition_id bigint) returns void
language plpgsql
as $body$
begin
    -- One expression: nothing can end this statement between taking the first lock and giving it back. Two
    -- records that ask in the same moment may take each other for a watcher, and ring for nobody.
    if (case
        when not pg_try_advisory_xact_lock_shared(1635087465, 2) then false
        when pg_try_advisory_lock(1635087465, 1) then pg_advisory_unlock(1635087465, 1)
        else false
    end) then
        return;
    end if;
    perform pg_notify('auth_reconciler_watch', transition_id::text);
end
$body$;

comment on function auth_reconciler.tell_watchers(bigint) is
    'Rings for those who follow transitions, if anybody does. Never waits.';
-- The only way by which a verdict reaches a watched table. Several statements in one READ COMMITTED
-- transaction, one round trip: each statement sees what was committed before it, which a single
-- statement with CTEs does not.

create or replace function auth_reconciler.key_class() returns integer
language sql
immutable
return 1635087464;

comment on function auth_reconciler.key_class() is
    'First number of the advisory locks on keys; keeps ours apart from everybody else''s.';

create or replace function auth_reconciler.key_hash(watched_id integer, instance_id uuid) returns integer
language sql
immutable
-- Two instances with one hash wait for each other for a moment, nothing more.
return hashtext(watched_id || '/' || instance_id);

comment on function auth_reconciler.key_hash(integer, uuid) is 'Second number of the advisory lock on a key.';

create or replace function auth_reconciler.lock_key(watched_id integer, instance_id uuid) returns boolean
language sql
as $body$
    select pg_catalog.pg_try_advisory_xact_lock(
        auth_reconciler.key_class(), auth_reconciler.key_hash(watched_id, instance_id))
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
            -- A write that guard put aside changed nothing, and somebody may write faster than we look.
            and c.kept is not true
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
    moved boolean;
    answered boolean;
    told boolean := false;
    known auth_reconciler.instance;
    transition_id bigint;
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
        verdict.final := coalesce(verdict.final, false);
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
        epoch = p_epoch,
        final = coalesce(verdict.final, false) and not overridden,
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
    moved := not overridden and verdict.auth_status is not null
        and from_status is distinct from verdict.auth_status and (wrote or known.auth_status is not null);
    answered := auth_reconciler.answer(verdict.watched_id, verdict.instance_id, p_changes);
    if moved then
        insert into auth_reconciler.transition
            (watched_id, instance_id, at, from_status, to_status, reason, message, cause, reaction_ms)
        values (
            verdict.watched_id, verdict.instance_id, this_moment, record.from_status, verdict.auth_status,
            verdict.reason, verdict.message, verdict.cause, record.reaction_ms)
        returning id into transition_id;
        perform auth_reconciler.tell_watchers(transition_id);
    elsif answered or overridden or known.reason is distinct from verdict.reason
        or known.auth_status is distinct from verdict.auth_status
    then
        -- A look by the clock that found the same once more is told by the number of looks alone.
        insert into auth_reconciler.journal
            (watched_id, instance_id, at, act, cause, times, first_at, from_status, to_status, reason, message, looks)
        values (
            verdict.watched_id, verdict.instance_id, this_moment, 'verdict', verdict.cause, 1, this_moment,
            known.auth_status, verdict.auth_status, verdict.reason, verdict.message, coalesce(known.looks, 0) + 1);
        told := true;
    end if;
    if moved or told or answered then
        perform auth_reconciler.prune(
            verdict.watched_id, verdict.instance_id,
            (p_context ->> 'history_per_instance')::integer,
            (p_context ->> 'history_max_age_ms')::double precision * interval '1 ms');
    end if;
    outcome := case when overridden then 'overridden' when wrote then 'written' else 'right' end;
end
$body$;

comment on function auth_reconciler.record(uuid, uuid, bigint[], jsonb, jsonb) is
    'Records one verdict behind the fence and writes auth_status if it differs. Outcome: written, right (it was so already), overridden (a trigger of the table replaced it), busy (somebody holds the row), gone, unwatched, or the part of the fence that refused: epoch, version, change.';

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
    -- A row that comes back under the same id is another instance.
    delete from auth_reconciler.pause as p
    where p.watched_id = p_watched_id and p.instance_id = p_instance_id;
    if p_version is null then
        -- It came and went between two looks: nothing to tell, and no record follows that would prune what is told.
        delete from auth_reconciler.change as c where c.id = any (p_changes);
        return 'forgotten';
    end if;
    perform auth_reconciler.answer(p_watched_id, p_instance_id, p_changes);
    insert into auth_reconciler.journal (watched_id, instance_id, at, act, cause, times, first_at)
    values (p_watched_id, p_instance_id, clock_timestamp(), 'gone', 'delete', 1, clock_timestamp());
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

create or replace function auth_reconciler.epoch_lock(epoch uuid) returns bigint
language sql
immutable
return hashtextextended('auth_reconciler ' || epoch::text, 0);

comment on function auth_reconciler.epoch_lock(uuid) is
    'Key of the advisory lock that is held for as long as an epoch lasts.';

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
    -- Held as long as this session lives: who must know whether the epoch still stands, and may not trust
    -- its snapshot, asks for this lock.
    perform pg_advisory_lock(auth_reconciler.epoch_lock(p_epoch));
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
-- What an operator calls. With the rights of the owner, so that a member of auth_reconciler needs the
-- right to call it and nothing else.

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

create or replace function auth_reconciler.places(instance_id uuid)
returns table (watched_id integer, relation regclass)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $body$
declare
    watched auth_reconciler.watched_table;
    present boolean;
begin
    for watched in
        select w.* from auth_reconciler.watched_table as w
        where exists (select from pg_class as c where c.oid = w.relation)
        order by w.id
    loop
        execute format('select true from %s where id = $1', watched.relation) into present using instance_id;
        if present or exists (
            select from auth_reconciler.instance as i
            where i.watched_id = watched.id and i.instance_id = places.instance_id
        ) then
            watched_id := watched.id;
            relation := watched.relation;
            return next;
        end if;
    end loop;
end
$body$;

comment on function auth_reconciler.places(uuid) is
    'The watched tables that have an instance, or of which one is recorded.';

create or replace function auth_reconciler.operator_name() returns text
language sql
stable
return session_user || case when current_setting('role') in ('none', session_user) then ''
    else ' as ' || current_setting('role') end;

comment on function auth_reconciler.operator_name() is
    'Who calls: the role of the session, and the one it has set.';

create or replace function auth_reconciler.ask(watched_id integer, instance_id uuid, note text) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $body$
begin
    insert into auth_reconciler.change (watched_id, instance_id, cause, application, role, note)
    values (
        watched_id, instance_id, 'operator', current_setting('application_name'), auth_reconciler.operator_name(),
        note);
    perform pg_notify('auth_reconciler', watched_id || '/' || instance_id || '/operator');
end
$body$;

comment on function auth_reconciler.ask(integer, uuid, text) is
    'Logs what an operator did as a change of the instance, and rings.';

create or replace function auth_reconciler.reconcile(instance_id uuid) returns text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $body$
declare
    place record;
    found_in text[] := '{}';
begin
    for place in select * from auth_reconciler.places(instance_id) loop
        perform auth_reconciler.ask(place.watched_id, instance_id, 'asked for a look');
        found_in := found_in || place.relation::text;
    end loop;
    if found_in = '{}' then
        return format('no watched table has an instance %s', instance_id);
    end if;
    return format(
        '%s of %s will be looked at%s', instance_id, array_to_string(found_in, ' and '),
        case when exists (select from auth_reconciler.pause as p where p.instance_id = reconcile.instance_id)
            then ', and left alone: it is paused' else '' end);
end
$body$;

comment on function auth_reconciler.reconcile(uuid) is
    'Has an instance looked at now, whatever is recorded of it.';

create or replace function auth_reconciler.reconcile_all() returns text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $body$
declare
    watched auth_reconciler.watched_table;
    rows_queued bigint;
    total bigint := 0;
begin
    for watched in
        select w.* from auth_reconciler.watched_table as w
        where exists (select from pg_class as c where c.oid = w.relation)
        order by w.id
    loop
        execute format(
            $sql$
            insert into auth_reconciler.change (watched_id, instance_id, cause, application, role, note)
            select %1$L::integer, every.id, 'operator', current_setting('application_name'),
                auth_reconciler.operator_name(), 'asked for a look at all'
            from (
                select id from %2$s
                union
                select instance_id from auth_reconciler.instance where watched_id = %1$L::integer
            ) as every
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

create or replace function auth_reconciler.pause(instance_id uuid, reason text) returns text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $body$
declare
    place record;
    why constant text := left(coalesce(nullif(btrim(reason), ''), 'no reason given'), 200);
    found_in text[] := '{}';
begin
    for place in select * from auth_reconciler.places(instance_id) loop
        -- A record that is under way ends first; one that has read before is refused by the change below.
        perform pg_advisory_xact_lock(auth_reconciler.key_class(), auth_reconciler.key_hash(place.watched_id, instance_id));
        insert into auth_reconciler.pause as p (watched_id, instance_id, reason, paused_by, paused_at)
        values (place.watched_id, pause.instance_id, why, auth_reconciler.operator_name(), clock_timestamp())
        on conflict on constraint pause_pkey do update set reason = excluded.reason, paused_by = excluded.paused_by;
        -- guard is off it from here on, whatever snapshot it has.
        update auth_reconciler.instance as i
        set epoch = null
        where i.watched_id = place.watched_id and i.instance_id = pause.instance_id;
        perform auth_reconciler.ask(place.watched_id, instance_id, 'paused it: ' || why);
        found_in := found_in || place.relation::text;
    end loop;
    if found_in = '{}' then
        return format('no watched table has an instance %s', instance_id);
    end if;
    return format(
        '%s of %s is paused: its auth_status is left alone until select auth_reconciler.resume(''%s'')',
        instance_id, array_to_string(found_in, ' and '), instance_id);
end
$body$;

comment on function auth_reconciler.pause(uuid, text) is
    'Hands off an instance while somebody works on it: no write of auth_status, no correction, no probe, whatever happens, until resume(). Outlives restarts; ends when the row is deleted. Say why: problems shows it.';

create or replace function auth_reconciler.resume(instance_id uuid) returns text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $body$
declare
    ended record;
    age interval;
begin
    for ended in
        delete from auth_reconciler.pause as p where p.instance_id = resume.instance_id returning p.*
    loop
        perform auth_reconciler.ask(ended.watched_id, instance_id, 'resumed it');
        age := date_trunc('second', clock_timestamp() - ended.paused_at);
    end loop;
    if age is null then
        return format('%s was not paused', instance_id);
    end if;
    return format('%s is resumed after %s and will be looked at', instance_id, age);
end
$body$;

comment on function auth_reconciler.resume(uuid) is 'Ends a pause; the instance is looked at at once.';

-- Words for people, as the views and explain() use them.

create or replace function auth_reconciler.fold(words text, width integer) returns text
language sql
immutable
return btrim(
    regexp_replace(words, format('(.{1,%s})(\s+|$)', width), E'\\1\n', 'g'),
    E'\n');

comment on function auth_reconciler.fold(text, integer) is
    'Breaks a sentence into lines of at most this width, so that psql shows it beside other columns.';

create or replace function auth_reconciler.age_of(since timestamptz) returns interval
language sql
stable
return date_trunc('second', now() - since);

comment on function auth_reconciler.age_of(timestamptz) is 'Time since then, in whole seconds.';

create or replace function auth_reconciler.by_whom(application text, role text) returns text
language sql
immutable
return case when role is null then ''
    else format(' by %s (role %s)', coalesce(nullif(application, ''), 'a nameless application'), role) end;

comment on function auth_reconciler.by_whom(text, text) is 'Who wrote, in words.';

create or replace function auth_reconciler.change_words(
    act text, cause text, from_status text, to_status text, note text, application text, role text, times bigint
) returns text
language sql
immutable
return case
        when act = 'operator' then role || ' ' || coalesce(note, 'asked for a look')
        when act = 'guarded' then format(
            'guard kept auth_status %s when %s was written', coalesce(from_status, 'null'), coalesce(to_status, 'null'))
        when act = 'drift' then format(
            'auth_status %s was overwritten with %s', coalesce(from_status, 'null'), coalesce(to_status, 'null'))
        when cause = 'insert' then 'row inserted'
        when cause = 'delete' then 'row deleted'
        when cause = 'truncate' then 'table truncated'
        when cause = 'watch' then 'table watched from here on'
        when cause = 'resync' then 'looked for, because a change could not be logged'
        when cause = 'assigned' then 'api_key or account written again with the same value'
        else cause || ' changed'
    end
    || case when act = 'operator' then '' else auth_reconciler.by_whom(application, role) end
    || case when times > 1 then format(', %s times', times) else '' end;

comment on function auth_reconciler.change_words(text, text, text, text, text, text, text, bigint) is
    'One change of an instance, in words.';

create or replace function auth_reconciler.nobody_leads() returns boolean
language sql
stable
return not pg_is_in_recovery() and not exists (
    select
    from pg_locks as l
    where l.locktype = 'advisory' and l.granted
        and l.database = (select d.oid from pg_database as d where d.datname = current_database())
        and (l.classid::bigint << 32 | l.objid::bigint) = auth_reconciler.leadership_lock()
);

comment on function auth_reconciler.nobody_leads() is
    'Whether no daemon holds the leadership lock of this database; false on a standby, where that cannot be seen.';

create or replace function auth_reconciler.next_words(
    paused boolean, leaderless boolean, waits boolean, contested boolean, next_attempt_at timestamptz
) returns text
language sql
stable
return case
    when paused then 'nothing until resume()'
    when leaderless then 'nothing: no daemon leads; start one, see reconcilers'
    when contested and next_attempt_at > now() then
        'corrected again in ' || date_trunc('second', next_attempt_at - now())
    when waits then 'a look is due now'
    when next_attempt_at > now() then 'looked at again in ' || date_trunc('second', next_attempt_at - now())
    when next_attempt_at is not null then 'a look is due now'
    else 'nothing until its row or container changes, or reconcile()'
end;

comment on function auth_reconciler.next_words(boolean, boolean, boolean, boolean, timestamptz) is
    'What happens next to an instance, in words.';
-- What an operator reads. Ages and trouble are computed when asked, so they are true even when no
-- daemon runs.

create view auth_reconciler.instances as
select
    r.instance_id as id,
    r.provider,
    r.auth_status,
    case when p.instance_id is null then i.reason else 'Paused' end as reason,
    case when p.instance_id is null then i.message
        else format('paused by %s: %s', p.paused_by, p.reason) end as message,
    case when p.instance_id is null then i.since else p.paused_at end as since,
    i.cause,
    round(i.reaction_ms::numeric, 1) as reaction_ms,
    i.next_attempt_at,
    p.instance_id is null and coalesce(i.trouble_at <= now(), false) as trouble,
    p.instance_id is null and coalesce(i.contested, 0) > 0 as contested,
    p.instance_id is not null as paused,
    p.paused_by,
    p.paused_at,
    p.reason as pause_reason,
    i.auth_status as verdict,
    i.looks,
    i.recorded_at,
    i.container_state as container,
    i.container_name,
    i.container_started_at,
    coalesce(c.count, 0) as unobserved,
    c.oldest as unobserved_since,
    w.relation as watched_table
from auth_reconciler.watched_rows() as r
join auth_reconciler.watched_table as w on w.id = r.watched_id
left join auth_reconciler.instance as i
    on i.watched_id = r.watched_id and i.instance_id = r.instance_id
left join auth_reconciler.pause as p
    on p.watched_id = r.watched_id and p.instance_id = r.instance_id
left join (
    select change.watched_id, change.instance_id, count(*) as count, min(change.changed_at) as oldest
    from auth_reconciler.change
    group by change.watched_id, change.instance_id
) as c on c.watched_id = r.watched_id and c.instance_id = r.instance_id;

comment on view auth_reconciler.instances is
    'Everything that is known of each instance, one row each, for programs and \x. On a terminal read status.';
comment on column auth_reconciler.instances.id is 'The instance.';
comment on column auth_reconciler.instances.provider is 'Its provider.';
comment on column auth_reconciler.instances.auth_status is 'What the column says now, whoever wrote it.';
comment on column auth_reconciler.instances.reason is 'Why, in one word; null before the first look.';
comment on column auth_reconciler.instances.message is 'Why, for a person, with what to do.';
comment on column auth_reconciler.instances.since is 'Since when status and reason are so, or since when it is paused.';
comment on column auth_reconciler.instances.cause is 'What led to the last look.';
comment on column auth_reconciler.instances.reaction_ms is 'Time from that cause to the record, in milliseconds.';
comment on column auth_reconciler.instances.next_attempt_at is 'When it is looked at again without an event; null if it is final.';
comment on column auth_reconciler.instances.trouble is 'Failed, contested, or waiting for longer than the grace time; never while paused.';
comment on column auth_reconciler.instances.contested is 'Somebody keeps writing wrong values faster than the budget of corrections.';
comment on column auth_reconciler.instances.paused is 'An operator called pause(): it is left alone.';
comment on column auth_reconciler.instances.paused_by is 'Who paused it.';
comment on column auth_reconciler.instances.paused_at is 'Since when it is paused.';
comment on column auth_reconciler.instances.pause_reason is 'Why it is paused, in the operator''s words.';
comment on column auth_reconciler.instances.verdict is 'What the last look found auth_status should be; null where hands are off.';
comment on column auth_reconciler.instances.looks is 'Looks recorded so far.';
comment on column auth_reconciler.instances.recorded_at is 'When the last look was recorded.';
comment on column auth_reconciler.instances.container is
    'State of its container as the last look saw it, in the engine''s words, or removed; null if none was seen.';
comment on column auth_reconciler.instances.container_name is 'Name of that container.';
comment on column auth_reconciler.instances.container_started_at is 'When that container was last started, by the engine''s clock.';
comment on column auth_reconciler.instances.unobserved is 'Changes that no look has answered for yet.';
comment on column auth_reconciler.instances.unobserved_since is 'When the oldest of them was made.';
comment on column auth_reconciler.instances.watched_table is 'The table of the row.';

create view auth_reconciler.status as
select
    i.id,
    i.auth_status,
    i.reason,
    auth_reconciler.age_of(i.since) as age,
    case
        when i.paused then 'paused'
        when i.contested then 'contested'
        when i.unobserved > 0 then 'waiting'
        when i.trouble then 'trouble'
        when i.looks is null then 'unseen'
        else 'ok'
    end as state,
    i.cause,
    i.reaction_ms,
    date_trunc('second', i.next_attempt_at - now()) as next_in,
    i.container
from auth_reconciler.instances as i
order by i.trouble or i.paused desc, i.since desc nulls last, i.id;

comment on view auth_reconciler.status is
    'One row per instance, narrow enough for a terminal: its status, why, for how long, and what is next. More of each in instances, what needs a person in problems.';
comment on column auth_reconciler.status.id is 'The instance.';
comment on column auth_reconciler.status.auth_status is 'What the column says now, whoever wrote it.';
comment on column auth_reconciler.status.reason is 'Why, in one word; null before the first look.';
comment on column auth_reconciler.status.age is 'For how long status and reason are so.';
comment on column auth_reconciler.status.state is
    'paused (by an operator), contested (somebody keeps writing other values), waiting (for a look at a change), trouble (failed, or waiting too long), unseen (no look yet), ok.';
comment on column auth_reconciler.status.cause is 'What led to the last look.';
comment on column auth_reconciler.status.reaction_ms is 'Time from that cause to the record, in milliseconds.';
comment on column auth_reconciler.status.next_in is 'In what time it is looked at again without an event; null if it is final.';
comment on column auth_reconciler.status.container is
    'State of its container as the last look saw it, in the engine''s words, or removed; null if none was seen.';

create view auth_reconciler.transitions as
select
    t.id,
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
comment on column auth_reconciler.transitions.id is 'Its number; grows with time.';
comment on column auth_reconciler.transitions.instance_id is 'The instance.';
comment on column auth_reconciler.transitions.at is 'When it was recorded.';
comment on column auth_reconciler.transitions.from_status is 'What the column said before, whoever wrote it.';
comment on column auth_reconciler.transitions.to_status is 'What it says since.';
comment on column auth_reconciler.transitions.reason is 'Why, in one word.';
comment on column auth_reconciler.transitions.cause is 'What led to the look.';
comment on column auth_reconciler.transitions.reaction_ms is 'Time from that cause to the record, in milliseconds.';
comment on column auth_reconciler.transitions.message is 'Why, for a person.';
comment on column auth_reconciler.transitions.watched_table is 'The table of the row.';
-- The questions of a bad night, each one view.

create view auth_reconciler.problems as
select
    i.id,
    what.problem,
    auth_reconciler.age_of(what.since) as age,
    auth_reconciler.fold(
        case what.problem
            when 'Paused' then i.message
            when 'Contested' then format(
                'auth_status is %s and should be %s: somebody keeps writing it, see drift',
                coalesce(i.auth_status, 'null'), coalesce(i.verdict, 'left alone'))
            when 'Unanswered' then format('%s for a look; last known: %s',
                case when i.unobserved = 1 then 'a change waits' else i.unobserved || ' changes wait' end,
                coalesce(i.message, 'nothing'))
            when 'Unseen' then 'no look was recorded yet'
            when 'Overwritten' then format(
                'auth_status is %s and should be %s', coalesce(i.auth_status, 'null'), i.verdict)
            else i.auth_status || ': ' || i.message
        end, 29) as why,
    auth_reconciler.fold(
        auth_reconciler.next_words(i.paused, l.leaderless, i.unobserved > 0, i.contested, i.next_attempt_at), 18) as next,
    date_trunc('second', what.since) as since
from auth_reconciler.instances as i
-- Asked once, not for each row.
cross join (select auth_reconciler.nobody_leads() as leaderless offset 0) as l
cross join lateral (
    select
        case
            when i.paused then 'Paused'
            when i.contested then 'Contested'
            when i.unobserved > 0 and (i.unobserved_since < now() - interval '1 minute' or l.leaderless)
                then 'Unanswered'
            when i.looks is null then 'Unseen'
            -- Hands off: what it should be is not for us to say.
            when i.verdict is null then null
            when i.auth_status is distinct from i.verdict and i.unobserved = 0 then 'Overwritten'
            when i.auth_status is distinct from 'client_ready' then i.reason
        end as problem,
        case when i.unobserved > 0 and not i.paused and not i.contested then i.unobserved_since else i.since end as since
) as what
where what.problem is not null
order by i.trouble desc, what.since, i.id;

comment on view auth_reconciler.problems is
    'What is not ready, and what is contested, paused or stuck: why, for how long, and what happens next. Empty when all is well.';
comment on column auth_reconciler.problems.id is 'The instance.';
comment on column auth_reconciler.problems.problem is
    'Paused (by an operator), Contested (two writers), Unanswered (a change waits for longer than a minute, or no daemon leads), Unseen (no look yet), Overwritten (the column differs from the verdict), else the reason of the verdict.';
comment on column auth_reconciler.problems.age is 'For how long.';
comment on column auth_reconciler.problems.why is 'What is the case and what to do, in words, broken into lines.';
comment on column auth_reconciler.problems.next is 'What happens next by itself, in words.';
comment on column auth_reconciler.problems.since is 'Since when.';

create view auth_reconciler.backlog as
select
    c.instance_id as id,
    count(*) as changes,
    string_agg(distinct c.cause, ', ' order by c.cause) as causes,
    auth_reconciler.age_of(min(c.changed_at)) as age,
    case
        when bool_or(p.instance_id is not null) then 'paused: answered for without a probe'
        when auth_reconciler.nobody_leads() then 'no daemon leads'
        when max(i.hold_until) > now() and bool_and(c.cause = 'drift') then
            'contested: looked at in ' || date_trunc('second', max(i.hold_until) - now())
        else 'a look is due'
    end as why,
    min(c.changed_at) as since,
    w.relation as watched_table
from auth_reconciler.change as c
join auth_reconciler.watched_table as w on w.id = c.watched_id
left join auth_reconciler.instance as i on i.watched_id = c.watched_id and i.instance_id = c.instance_id
left join auth_reconciler.pause as p on p.watched_id = c.watched_id and p.instance_id = c.instance_id
group by c.instance_id, w.relation
order by min(c.changed_at);

comment on view auth_reconciler.backlog is
    'What waits: changes that no look has answered for, one row per instance. Empty when all is quiet.';
comment on column auth_reconciler.backlog.id is 'The instance; null when the whole table was truncated.';
comment on column auth_reconciler.backlog.changes is 'How many of its changes wait.';
comment on column auth_reconciler.backlog.causes is 'What changed.';
comment on column auth_reconciler.backlog.age is 'For how long the oldest of them waits.';
comment on column auth_reconciler.backlog.why is 'What they wait for.';
comment on column auth_reconciler.backlog.since is 'When the oldest of them was made.';
comment on column auth_reconciler.backlog.watched_table is 'The table of the row.';

create view auth_reconciler.drift as
select
    w.instance_id as id,
    bool_or(coalesce(i.contested, 0) > 0) as contested,
    w.application,
    w.role,
    w.from_status,
    w.to_status,
    sum(w.times)::bigint as times,
    coalesce(sum(w.times) filter (where w.guarded), 0)::bigint as guarded,
    auth_reconciler.age_of(max(w.at)) as age,
    max(w.at) as last_at
from (
    select
        j.watched_id, j.instance_id, j.application, j.role, j.from_status, j.to_status, j.times,
        j.act = 'guarded' as guarded, j.at
    from auth_reconciler.journal as j
    where j.act in ('drift', 'guarded')
    union all
    select
        c.watched_id, c.instance_id, c.application, c.role, c.from_status, c.to_status, 1, c.kept is true, c.changed_at
    from auth_reconciler.change as c
    where c.cause = 'drift'
) as w
left join auth_reconciler.instance as i on i.watched_id = w.watched_id and i.instance_id = w.instance_id
group by w.watched_id, w.instance_id, w.application, w.role, w.from_status, w.to_status
order by bool_or(coalesce(i.contested, 0) > 0) desc, max(w.at) desc;

comment on view auth_reconciler.drift is
    'Who wrote auth_status beside us, from what to what and how often; contested instances first. As far back as history is kept.';
comment on column auth_reconciler.drift.id is 'The instance.';
comment on column auth_reconciler.drift.contested is 'Somebody keeps writing it faster than the budget of corrections.';
comment on column auth_reconciler.drift.application is 'application_name of the session that wrote.';
comment on column auth_reconciler.drift.role is 'Role of that session; with "as" and another where it had set one.';
comment on column auth_reconciler.drift.from_status is 'What the column said before.';
comment on column auth_reconciler.drift.to_status is 'What was written.';
comment on column auth_reconciler.drift.times is 'How often.';
comment on column auth_reconciler.drift.guarded is 'How many of these guard put aside, so that nobody ever read them.';
comment on column auth_reconciler.drift.age is 'How long ago the last time was.';
comment on column auth_reconciler.drift.last_at is 'When the last time was.';

create view auth_reconciler.latency as
select
    p.period,
    coalesce(t.cause, 'all') as cause,
    count(*) as count,
    round(percentile_disc(0.5) within group (order by t.reaction_ms)::numeric, 1) as p50_ms,
    round(percentile_disc(0.95) within group (order by t.reaction_ms)::numeric, 1) as p95_ms,
    round(percentile_disc(0.99) within group (order by t.reaction_ms)::numeric, 1) as p99_ms,
    round(max(t.reaction_ms)::numeric, 1) as max_ms
from (values (1, 'hour', interval '1 hour'), (2, 'day', interval '1 day')) as p (place, period, length)
join auth_reconciler.transition as t on t.at > now() - p.length
group by grouping sets ((p.place, p.period, t.cause), (p.place, p.period))
order by p.place, grouping(t.cause) desc, t.cause;

comment on view auth_reconciler.latency is
    'How fast we are: time from what happened to the commit of the status that it led to, by cause, in the last hour and day. Counts what history still holds.';
comment on column auth_reconciler.latency.period is 'hour: the last one; day: the last 24 hours.';
comment on column auth_reconciler.latency.cause is 'What led to the look, or all.';
comment on column auth_reconciler.latency.count is 'Statuses that moved.';
comment on column auth_reconciler.latency.p50_ms is 'Half of them took at most so many milliseconds.';
comment on column auth_reconciler.latency.p95_ms is '95 of 100 took at most so many.';
comment on column auth_reconciler.latency.p99_ms is '99 of 100 took at most so many.';
comment on column auth_reconciler.latency.max_ms is 'The slowest.';

create view auth_reconciler.history as
select
    h.kept,
    h.rows,
    auth_reconciler.age_of(h.oldest) as reaches_back,
    pg_size_pretty(pg_total_relation_size(h.relation)) as size,
    pg_total_relation_size(h.relation) as bytes,
    h.oldest
from (
    select 'transitions' as kept, count(*) as rows, min(t.at) as oldest, 'auth_reconciler.transition'::regclass as relation
    from auth_reconciler.transition as t
    union all
    select 'journal', count(*), min(j.at), 'auth_reconciler.journal'::regclass from auth_reconciler.journal as j
    union all
    select 'unanswered changes', count(*), min(c.changed_at), 'auth_reconciler.change'::regclass
    from auth_reconciler.change as c
    union all
    select 'instances', count(*), min(i.recorded_at), 'auth_reconciler.instance'::regclass
    from auth_reconciler.instance as i
) as h;

comment on view auth_reconciler.history is
    'How much is kept, how far back, and how large it is on disk. Transitions and journal are bounded by AUTH_RECONCILER_HISTORY_PER_INSTANCE and _MAX_AGE; only unanswered changes grow while no daemon runs.';
comment on column auth_reconciler.history.kept is 'What.';
comment on column auth_reconciler.history.rows is 'How many rows.';
comment on column auth_reconciler.history.reaches_back is 'Age of the oldest.';
comment on column auth_reconciler.history.size is 'On disk, indexes included, for people.';
comment on column auth_reconciler.history.bytes is 'The same in bytes.';
comment on column auth_reconciler.history.oldest is 'Time of the oldest.';

create view auth_reconciler.tables as
select
    w.relation as watched_table,
    exists (
        select
        from pg_catalog.pg_trigger as t
        where t.tgrelid = w.relation and t.tgname = 'zz_auth_reconciler_guard' and t.tgenabled <> 'D'
    ) as guarded
from auth_reconciler.watched_table as w
-- A table that was dropped leaves its number behind.
where exists (select from pg_catalog.pg_class as c where c.oid = w.relation)
order by w.id;

comment on view auth_reconciler.tables is 'The watched tables.';
comment on column auth_reconciler.tables.watched_table is 'The table.';
comment on column auth_reconciler.tables.guarded is
    'Whether guard is on: a foreign write of auth_status that contradicts a current verdict is put aside.';
-- Who runs and who leads, from the server's own sessions and locks and the row of the last take-over: no
-- heartbeat, and true when nobody is left to write one.

create or replace function auth_reconciler.processes()
returns table (
    role text, hears boolean, host text, version text, process integer, since timestamptz, active_since timestamptz,
    term bigint, last_sign timestamptz, pid integer, engine text, engine_since timestamptz, engine_address text,
    engine_detail text, db_user name, client_addr inet, remark text
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $body$
begin
    if pg_is_in_recovery() then
        -- The tables of epoch and engine are unlogged, which a standby cannot read, and the sessions are elsewhere.
        role := 'unknown';
        remark := 'this server is a standby: ask the primary, where the sessions are';
        return next;
        return;
    end if;
    return query
    with session as (
        select
            a.pid, a.backend_start, a.usename, a.client_addr, a.state_change,
            split_part(a.application_name, ' ', 2) as kind,
            split_part(a.application_name, ' ', 3) as version,
            split_part(a.application_name, ' ', 4) as host,
            -- Anybody may call a session so; what is no number is none of ours.
            substring(split_part(a.application_name, ' ', 5) from '^[0-9]{1,9}$') as process
        from pg_stat_activity as a
        where a.datname = current_database()
            and (a.application_name like 'auth-reconciler ear %' or a.application_name like 'auth-reconciler pool %')
    ),
    ear as (
        select
            s.*,
            exists (
                select
                from pg_locks as l
                where l.pid = s.pid and l.locktype = 'advisory' and l.granted
                    and l.database = (select d.oid from pg_database as d where d.datname = current_database())
                    and (l.classid::bigint << 32 | l.objid::bigint) = auth_reconciler.leadership_lock()
            ) as leads
        from session as s
        where s.kind = 'ear'
    ),
    pool as (
        select s.host, s.process, s.version, min(s.backend_start) as since, max(s.state_change) as last_sign,
            min(s.usename::text)::name as usename, min(s.client_addr) as client_addr
        from session as s
        where s.kind = 'pool'
        group by s.host, s.process, s.version
    ),
    found as (
        select
            case when e.leads then 'active' else 'standby' end as role,
            case when e.leads then true end as hears,
            e.host, e.version, e.process, e.backend_start as since,
            case when l.pid is not null then l.taken_at end as active_since,
            l.term, p.last_sign, e.pid, l.epoch, e.usename, e.client_addr,
            case when e.leads then 'leads and hears'
                else 'stands by: takes over when the active one ends' end as remark
        from ear as e
        left join auth_reconciler.leadership as l
            -- The start of a session is hidden from an owner without pg_read_all_stats.
            on l.pid = e.pid and l.backend_start = coalesce(e.backend_start, l.backend_start) and e.leads
        left join pool as p on p.host = e.host and p.process = e.process
        union all
        select
            'half-dead', false, p.host, p.version, p.process, p.since, null, null, p.last_sign, null, null,
            p.usename, p.client_addr,
            'its ear is gone and its other sessions live: it hears nothing and may record nothing; it makes another ear, or restart it'
        from pool as p
        where not exists (select from ear as e where e.host = p.host and e.process = p.process)
        union all
        select
            'dead', false, split_part(l.application, ' ', 4), split_part(l.application, ' ', 3),
            substring(split_part(l.application, ' ', 5) from '^[0-9]{1,9}$'), l.backend_start, l.taken_at, l.term, null, l.pid, null,
            null, null,
            'led last and its session has ended; nobody leads: changes are kept in the log until a daemon is started'
        from auth_reconciler.leadership as l
        where not exists (select from ear as e where e.leads)
            and not exists (select from pool as p where p.process = split_part(l.application, ' ', 5))
    )
    select
        f.role, f.hears, f.host, f.version, f.process::integer, f.since, f.active_since, f.term, f.last_sign, f.pid,
        case when f.role <> 'active' then null when e.epoch is null then 'unknown' when e.address = 'off' then 'off'
            when e.seen then 'seen' else 'not seen' end,
        e.since, e.address, e.detail, f.usename, f.client_addr, f.remark
    from found as f
    left join auth_reconciler.engine as e on e.epoch = f.epoch
    order by array_position(array['active', 'half-dead', 'dead', 'standby'], f.role), f.since;
end
$body$;

comment on function auth_reconciler.processes() is
    'What the view reconcilers shows. A function, because a standby could not read a view over unlogged tables.';

create view auth_reconciler.reconcilers as
select
    p.role, p.hears, p.host, p.version, p.process, p.since, p.active_since, p.term, p.last_sign, p.pid, p.engine,
    p.engine_since, p.engine_address, p.engine_detail, p.db_user, p.client_addr, p.remark
from auth_reconciler.processes() as p;

comment on view auth_reconciler.reconcilers is
    'Who runs and who leads, from the server''s own sessions and locks: no active row, nobody leads; no row at all, nobody has led since the server last recovered from a crash.';
comment on column auth_reconciler.reconcilers.role is
    'active: leads; standby: waits to lead; half-dead: its ear is gone, its other sessions live; dead: led last, has ended, and nobody leads; unknown: this server is a standby.';
comment on column auth_reconciler.reconcilers.hears is
    'Whether its ear is connected; null for a process that stands by and need not hear. That the process behind it moves shows in last_sign.';
comment on column auth_reconciler.reconcilers.host is 'Host on which it runs.';
comment on column auth_reconciler.reconcilers.version is 'Its version.';
comment on column auth_reconciler.reconcilers.process is 'Its number on that host.';
comment on column auth_reconciler.reconcilers.since is 'Since when its ear (half-dead: its oldest other session) is connected.';
comment on column auth_reconciler.reconcilers.active_since is 'Since when it leads, or led.';
comment on column auth_reconciler.reconcilers.term is 'Number of its term.';
comment on column auth_reconciler.reconcilers.last_sign is
    'Its last statement beside the ear. While it leads, one echo each AUTH_RECONCILER_ECHO_INTERVAL at least; much older, the process hangs.';
comment on column auth_reconciler.reconcilers.pid is 'Server process of its ear.';
comment on column auth_reconciler.reconcilers.engine is
    'Whether the active process sees its container engine: seen, not seen, off, or unknown while it has not said yet.';
comment on column auth_reconciler.reconcilers.engine_since is 'Since when that is so.';
comment on column auth_reconciler.reconcilers.engine_address is 'Where it looks for the engine.';
comment on column auth_reconciler.reconcilers.engine_detail is 'Why the engine is not seen, with what to do.';
comment on column auth_reconciler.reconcilers.db_user is 'Role with which it is connected.';
comment on column auth_reconciler.reconcilers.client_addr is 'Address from which it is connected.';
comment on column auth_reconciler.reconcilers.remark is 'What that means, in words.';
-- The story of one instance.

create or replace function auth_reconciler.explain(instance_id uuid)
returns table (at timestamptz, act text, what text)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $body$
    with told (at, place, act, what) as (
        select
            j.at, 1, j.act,
            case
                when j.act = 'gone' then 'the row is gone, so the instance is forgotten'
                when j.act = 'verdict' then format(
                    'looked because of %s: %s, %s: %s', j.cause, coalesce(j.to_status, 'hands off'), j.reason, j.message)
                else auth_reconciler.change_words(
                    j.act, j.cause, j.from_status, j.to_status, j.message, j.application, j.role, j.times)
            end
        from auth_reconciler.journal as j
        where j.instance_id = explain.instance_id
        union all
        select
            t.at, 2, case when t.cause = 'drift' then 'correction' else 'transition' end,
            format(
                '%s auth_status from %s to %s, %s ms after %s: %s: %s',
                case when t.cause = 'drift' then 'corrected' else 'moved' end,
                coalesce(t.from_status, 'null'), coalesce(t.to_status, 'null'),
                round(t.reaction_ms::numeric, 1), t.cause, t.reason, t.message)
        from auth_reconciler.transition as t
        where t.instance_id = explain.instance_id
        union all
        select
            c.changed_at, 3, 'waits',
            auth_reconciler.change_words(
                case when c.kept then 'guarded' when c.cause in ('drift', 'operator') then c.cause else 'change' end,
                c.cause, c.from_status, c.to_status, c.note, c.application, c.role, 1)
            || '; no look has answered for it yet'
        from auth_reconciler.change as c
        where c.instance_id = explain.instance_id
        union all
        select
            now(), 4, 'now',
            format(
                'auth_status is %s; %s%s; %s looks so far; next: %s',
                coalesce(i.auth_status, 'null'), coalesce(i.reason || ': ' || i.message, 'not looked at yet'),
                case when i.contested then '; contested: somebody keeps writing other values, see drift' else '' end,
                coalesce(i.looks, 0),
                auth_reconciler.next_words(i.paused, auth_reconciler.nobody_leads(), i.unobserved > 0, i.contested, i.next_attempt_at))
        from auth_reconciler.instances as i
        where i.id = explain.instance_id
    )
    select t.at, t.act, t.what
    from told as t
    order by case when t.place = 4 then 1 else 0 end, t.at, t.place
$body$;

comment on function auth_reconciler.explain(uuid) is
    'What happened to an instance, oldest first, in words: changes of its row and who made them, looks that told something, corrections, writes that guard put aside, what operators did, what waits, and what is the case now. As far back as history is kept; looks by the clock that found the same once more are in the number of looks only.';
-- Nobody but the owner calls anything here, unless it is granted.

revoke all on schema auth_reconciler from public;
revoke all on all functions in schema auth_reconciler from public;
-- What was granted on views before they were made anew, see 05_keep_grants.sql.

do $body$
declare
    kept record;
begin
    for kept in
        select k.*, case when k.grantee = 0 then 'public' else quote_ident(r.rolname) end as whom
        from jsonb_to_recordset(current_setting('auth_reconciler.kept_grants')::jsonb)
            as k (name name, part name, grantee oid, privilege text, is_grantable boolean)
        left join pg_catalog.pg_roles as r on r.oid = k.grantee
        where to_regclass(format('auth_reconciler.%I', k.name)) is not null
            and (k.grantee = 0 or r.oid is not null)
            and (
                k.part is null
                or exists (
                    select
                    from pg_catalog.pg_attribute as a
                    where a.attrelid = to_regclass(format('auth_reconciler.%I', k.name)) and a.attname = k.part
                        and not a.attisdropped
                )
            )
    loop
        execute format(
            'grant %s%s on auth_reconciler.%I to %s%s',
            kept.privilege, case when kept.part is null then '' else format(' (%I)', kept.part) end, kept.name, kept.whom,
            case when kept.is_grantable then ' with grant option' else '' end);
    end loop;
end
$body$;
