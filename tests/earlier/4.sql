-- The schema as version 4 made it, tables and routines, word for word: what an upgrade meets. Never edited.
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
-- What is believed, and who is trusted: the second version of the protocol.

-- Facts about the daemon itself, which change no status. Unlogged, as the epoch that they belong to.
create unlogged table auth_reconciler.own_trouble (
    problem text not null
        constraint own_trouble_pkey primary key,
    epoch uuid not null,
    since timestamptz not null,
    detail text not null
);

comment on table auth_reconciler.own_trouble is
    'What keeps the process that leads from knowing: a shortage of its own, or nobody who answers. Read problems or reconcilers instead.';
comment on column auth_reconciler.own_trouble.problem is 'One word for it, as in the view problems.';
comment on column auth_reconciler.own_trouble.epoch is 'The epoch of the process that says so; a row of another epoch says nothing.';
comment on column auth_reconciler.own_trouble.since is 'Since when.';
comment on column auth_reconciler.own_trouble.detail is 'What is the case and what to do, in words.';

-- A table is known by its number, which a rename keeps and a new table of the same name does not have. The name
-- tells what was meant.
alter table auth_reconciler.watched_table add column name text;

comment on column auth_reconciler.watched_table.name is
    'The name by which it was watched, qualified and quoted: another table under it, or none, is a fault that is told.';

update auth_reconciler.watched_table as w
set name = pg_catalog.format('%I.%I', n.nspname, c.relname)
from pg_catalog.pg_class as c
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where c.oid = w.relation;

-- Our triggers know our own write by instance.writing; a setting of the session was anybody's to make.
drop function if exists auth_reconciler.foreign_write(integer);

-- What a change of what is watched leaves to do: the lock of the watched table, behind which the manager's statements
-- queue, must not last for a work that grows with the rows.
create table auth_reconciler.owed (
    id bigint generated always as identity constraint owed_pkey primary key,
    watched_id integer not null,
    name text not null,
    work text not null constraint owed_work_check check (work in ('watch', 'truncate', 'unwatch')),
    after_id uuid,
    since timestamptz not null default clock_timestamp()
);

comment on table auth_reconciler.owed is
    'Work on all rows of a table that watch(), unwatch() and TRUNCATE leave to the daemon or to the next migrate, which do it in pieces. Empty when all is done; read backlog instead.';
comment on column auth_reconciler.owed.id is 'Order of the works.';
comment on column auth_reconciler.owed.watched_id is 'The table, see watched_table; of one that is no longer watched, what it was.';
comment on column auth_reconciler.owed.name is 'Name of the table.';
comment on column auth_reconciler.owed.work is
    'watch: a look at every row is yet to be queued. truncate: one for every row that was recorded, for it may be gone. unwatch: what was recorded of its rows is yet to be removed.';
comment on column auth_reconciler.owed.after_id is 'Of looks that are to be queued: they are for the rows up to this one; null at the beginning.';
comment on column auth_reconciler.owed.since is 'Since when it is owed; of a truncate, when that was.';

-- Changes that could not be logged: counted outside the transaction that made them, so that neither its roll-back nor
-- the end of a process that heard of them takes the count back.
create sequence auth_reconciler.unlogged as bigint;

comment on sequence auth_reconciler.unlogged is
    'How often a change could not be logged, whether or not its transaction was committed. See unlogged_answered.';

create table auth_reconciler.unlogged_answered (
    single boolean not null default true
        constraint unlogged_answered_pkey primary key
        constraint unlogged_answered_single check (single),
    counted bigint not null,
    running_until xid8
);

comment on table auth_reconciler.unlogged_answered is
    'What was done about changes that could not be logged: a change of every row was logged when they had been counted so far.';
comment on column auth_reconciler.unlogged_answered.single is 'There is one row.';
comment on column auth_reconciler.unlogged_answered.counted is 'The count of auth_reconciler.unlogged that is answered for.';
comment on column auth_reconciler.unlogged_answered.running_until is
    'Transactions with lower numbers may have counted and were not committed then: every row is looked at once more when they have ended. Null when there were none.';

insert into auth_reconciler.unlogged_answered (counted) values (0);

-- What only our triggers know: that a change of this transaction could not be logged is noted in a setting, which is
-- anybody's to make. A sequence, because reading one is no read of a table that a SERIALIZABLE writer could fail by.
create sequence auth_reconciler.seal as bigint;

select pg_catalog.setval(
    'auth_reconciler.seal',
    ('x' || pg_catalog.substr(pg_catalog.replace(pg_catalog.gen_random_uuid()::text, '-', ''), 18))::bit(60)::bigint + 1);

comment on sequence auth_reconciler.seal is
    'A random number by which our triggers know what they have noted in a setting themselves. Nobody else may read it.';

-- What is installed may be told from what was.
alter table auth_reconciler.migration add column made jsonb;

comment on column auth_reconciler.migration.made is
    'A digest of each function and view as it was when they were installed; null for all but the newest.';
-- What 0002_containers does to a table that a record reads while it holds the manager's row: last, and with a short lock.

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
-- What 0003_operator does to the tables that the manager's triggers write and read, and that a record reads while it holds
-- the manager's row: last, and with a short lock.

alter table auth_reconciler.leadership add column application text;

comment on column auth_reconciler.leadership.application is
    'application_name of that session: names version, host and process even when it is gone.';

alter table auth_reconciler.instance
    add column epoch uuid,
    -- Verdicts recorded earlier say nothing of it.
    add column final boolean not null default false;

comment on column auth_reconciler.instance.epoch is
    'The epoch in which the verdict was recorded; null when a pause or a resume took it back since. guard keeps a verdict only within its epoch.';
comment on column auth_reconciler.instance.final is
    'Whether only an event can change the verdict, the hold of a contested instance aside.';

-- Nullable and without a default: no row is rewritten.
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

comment on column auth_reconciler.change.cause is
    'What changed: insert, delete, id, api_key, account, port_api, provider, type_instance, assigned, drift (auth_status, by somebody else), truncate, watch, operator (somebody asked, paused or resumed), resync (a change that could not be logged).';
-- What 0004_evidence_and_trust does to the tables that the manager's triggers write and read: last, and with a short
-- lock. Columns are only added, nullable and without a default that would rewrite a row; instance comes before change.

-- Evidence: whether a verdict stands on an answer or the engine's word, and how often somebody else wrote.
alter table auth_reconciler.instance
    add column established boolean,
    add column foreign_at timestamptz[];

comment on column auth_reconciler.instance.established is
    'Whether an answer of the API, the engine''s word or misses with a witness stand behind the verdict. One that merely repeats what somebody else wrote is not established. Null in what an earlier version recorded.';
comment on column auth_reconciler.instance.foreign_at is
    'When the last looks found foreign writes of auth_status, the newest first, 13 at most: more than 12 within an hour are a slow fight, which is told.';

-- By what our triggers know our own write.
alter table auth_reconciler.instance add column writing text;

comment on column auth_reconciler.instance.writing is
    'The auth_status that the transaction of a record is writing; always null where anybody else can see it.';

comment on column auth_reconciler.instance.attempts is
    'Steps of the backoff since it was last final or began anew: its exponent. A look counts for one, for three where the output of its container is followed.';
-- Where views must be dropped to be made anew, what was granted on them would go with them. Kept for the length of
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
-- Text that is none. In a database of encoding SQL_ASCII a column holds whatever bytes somebody wrote, in others a
-- character may have no equivalent in UTF-8; the server then refuses to send the whole result. So what others wrote
-- is made legible before it leaves: one row is marked, and the rest is seen.

create or replace function auth_reconciler.escaped(value text) returns text
language plpgsql
stable
strict
set search_path = pg_catalog, pg_temp
as $body$
begin
    perform convert_to(value, 'UTF8');
    return value;
exception when character_not_in_repertoire or untranslatable_character then
    return encode(convert_to(value, getdatabaseencoding()), 'escape') || ' (bytes that are no text)';
end
$body$;

comment on function auth_reconciler.escaped(text) is
    'The value, or, where it cannot be sent as UTF-8, its bytes with those beyond ASCII in octal, and a mark. Call legible() instead.';

create or replace function auth_reconciler.legible(value text) returns text
language sql
stable
-- Without settings of its own, so that it is nothing but its condition where all text is text.
return case when getdatabaseencoding() = 'UTF8' then value else auth_reconciler.escaped(value) end;

comment on function auth_reconciler.legible(text) is
    'The value if it is text, else its bytes, marked.';
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
    -- tables in it. A setting of an earlier transaction reads as the empty string, not as null.
    if current_setting('auth_reconciler.writing', true) is distinct from watched_id || '/' || instance_id || '/' || status then
        return false;
    end if;
    -- What record() wrote in this very transaction; nobody else ever sees it, or may write it.
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
    -- Rings in one transaction before a single call for a scan takes their place.
    max_rings constant integer := 64;
    watched constant integer := tg_argv[0]::integer;
    -- What this transaction has come to with the log: its id, and "can" or "cannot". Local to it and undone
    -- with a savepoint, as the lock is; with the id because anybody may set it, and reset beforehand. "cannot" is
    -- sealed, for it leaves out who wrote what.
    this_transaction constant text := pg_current_xact_id()::text;
    logged constant text := current_setting('auth_reconciler.logged', true);
    ids uuid[];
    causes text[];
    rings integer;
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
        -- Counted outside the transaction, so that no end of a process loses it: everything will be looked at, this as well. Asked for each time, for anybody may set this and so ask
        -- for silence; equal notifications of one transaction are sent once.
        perform nextval(counter.id) from (select to_regclass('auth_reconciler.unlogged') as id) as counter
            where has_sequence_privilege(counter.id::oid, 'usage');
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
        perform nextval(counter.id) from (select to_regclass('auth_reconciler.unlogged') as id) as counter
            where has_sequence_privilege(counter.id::oid, 'usage');
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
        exception when others then
            perform set_config('auth_reconciler.logged', this_transaction || ' cannot ' || (
                    select hashtextextended(this_transaction, pg_sequence_last_value(seal.id))
                    from (select to_regclass('auth_reconciler.seal') as id) as seal
                    where has_sequence_privilege(seal.id::oid, 'usage')
                ), true);
            perform nextval(counter.id) from (select to_regclass('auth_reconciler.unlogged') as id) as counter
                where has_sequence_privilege(counter.id::oid, 'usage');
            perform pg_notify('auth_reconciler', 'resync');
            return null;
        end;
    end if;
    -- Anybody may set it: what is no number of ours is none.
    rings := coalesce(substring(current_setting('auth_reconciler.rings', true) from '^[0-9]{1,4}$'), '0')::integer;
    for i in 1 .. cardinality(ids) loop
        if ids[i] is null or rings >= max_rings then
            -- Equal notifications of one transaction are sent once.
            perform pg_notify('auth_reconciler', 'scan');
        else
            rings := rings + 1;
            perform set_config('auth_reconciler.rings', rings::text, true);
            perform pg_notify('auth_reconciler', watched || '/' || ids[i] || '/' || causes[i]);
        end if;
    end loop;
    return null;
end
$body$;

comment on function auth_reconciler.log_change() is
    'Trigger of the watched tables: appends the change to the log and rings with the key. Runs with the rights of its owner, so writers need none of ours.';

revoke all on function auth_reconciler.log_change() from public;
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
-- The columns that we name of a watched table: from the catalog alone, so that it can be asked with each echo. Whatever
-- reads the manager's tables asks it first, and leaves out a table that no longer has them.

create or replace function auth_reconciler.is_typed(relation oid) returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $body$
    select exists (
        select
        from pg_attribute as a
        join pg_type as t on t.oid = a.atttypid
        -- Of another kind than the manager's it says nothing to us.
        where a.attrelid = relation and a.attname = 'type_instance' and not a.attisdropped
            and t.typelem in ('text'::regtype, 'varchar'::regtype)
    )
$body$;

comment on function auth_reconciler.is_typed(oid) is 'Whether a table has a type_instance column of the manager''s kind.';

create or replace function auth_reconciler.wrong_columns(relation oid, typed boolean) returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $body$
    select string_agg(
        case when a.attname is null
            then format('column %s is missing', wanted.name)
            else format('column %s is %s, not %s', wanted.name, format_type(a.atttypid, a.atttypmod), wanted.types)
        end, '; ' order by wanted.place)
    from (
        values
            (1, 'id', 'uuid', array['uuid']),
            (2, 'provider', 'text', array['text', 'varchar', 'bpchar']),
            (3, 'port_api', 'an integer', array['int4', 'int2', 'int8']),
            (4, 'api_key', 'text', array['text', 'varchar', 'bpchar']),
            (5, 'account', 'text', array['text', 'varchar', 'bpchar']),
            (6, 'auth_status', 'text', array['text', 'varchar']),
            (7, 'updated_at', 'a timestamp', array['timestamp', 'timestamptz']),
            (8, 'type_instance', 'a list of texts', array['_text', '_varchar'])
    ) as wanted (place, name, types, names)
    left join pg_attribute as a
        on a.attrelid = relation and a.attname = wanted.name and a.attnum > 0 and not a.attisdropped
    left join pg_type as t on t.oid = a.atttypid
    -- A type of that name in another schema is its maker's, and so are the casts that a read of it would call.
    where (
            a.attname is null or t.typname <> all (wanted.names) or t.typnamespace <> 'pg_catalog'::regnamespace
        )
        -- Without it every row is served; where it was, it is what tells whose rows are not ours.
        and (typed or wanted.name <> 'type_instance')
        and exists (select from pg_class as c where c.oid = relation)
$body$;

comment on function auth_reconciler.wrong_columns(oid, boolean) is
    'Every column that a table lacks to be watched, or has of another type, in words; null if none is wrong or the table is gone. typed: it was watched with a type_instance.';

-- Attaching and removing the triggers. What is done while the table is locked is done for its triggers alone: rows are
-- copied and records removed later, in pieces (26_owed.sql), for the manager waits as long as the lock is held.
--
-- The search path is pinned: these are called by the owner, in whose own path somebody else may have
-- put a function or an operator that fits better than ours.

create or replace function auth_reconciler.missing_triggers(relation regclass, assigned boolean) returns text[]
language sql
stable
set search_path = pg_catalog, pg_temp
as $body$
    -- Of a partition, the copies that the server makes: they can be disabled one by one.
    select coalesce(array_agg(
        wanted.name || case when place.level > 0 then ' on partition ' || place.relation::text else '' end
        order by place.level, place.relation::text, wanted.name), '{}')
    -- From the catalog's rows alone: pg_partition_tree() and pg_get_triggerdef() lock the tables, and would wait for
    -- whoever has one locked.
    from (
        with recursive tree (relation, level) as (
            select missing_triggers.relation::oid, 0
            union all
            select i.inhrelid, t.level + 1
            from tree as t
            join pg_catalog.pg_inherits as i on i.inhparent = t.relation
            join pg_catalog.pg_class as c on c.oid = i.inhrelid and c.relispartition
        )
        select t.relation::regclass as relation, t.level from tree as t
    ) as place
    cross join unnest(
        array['auth_reconciler_delete', 'auth_reconciler_insert', 'auth_reconciler_truncate', 'auth_reconciler_update']
        || case when assigned then array['auth_reconciler_assigned'] else '{}' end
    ) as wanted (name)
    where (place.level = 0 or wanted.name <> 'auth_reconciler_truncate')
        and not exists (
            select
            from pg_catalog.pg_trigger as t
            where t.tgrelid = place.relation and t.tgname = wanted.name and t.tgenabled in ('O', 'A')
                and t.tgfoid = 'auth_reconciler.log_change()'::regprocedure
                -- One of an earlier version let anybody write in silence.
                and coalesce(t.tgqual::text, '') not like format(
                    '%%:funcid %s %%', 'pg_catalog.current_setting(text, boolean)'::regprocedure::oid)
        )
$body$;

comment on function auth_reconciler.missing_triggers(regclass, boolean) is
    'Names of our triggers that are absent, disabled or of an earlier version, on the table or on one of its partitions.';

create or replace function auth_reconciler.check_watchable(relation regclass) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    kind "char";
    problems text;
    other text;
begin
    select c.relkind into kind from pg_catalog.pg_class as c where c.oid = relation;
    if kind not in ('r', 'p') then
        raise exception '% is not a table', relation
            using errcode = 'wrong_object_type',
                  hint = 'Name the table that the manager writes to.';
    end if;
    problems := auth_reconciler.wrong_columns(relation, false);
    if problems is not null then
        raise exception 'table % cannot be watched: %', relation, problems
            using errcode = 'undefined_column',
                  hint = 'Name the table in which the manager keeps its instances (AUTH_RECONCILER_TABLE).';
    end if;
    -- Its rows would be seen twice.
    with recursive parent as (
        select i.inhparent as oid from pg_catalog.pg_inherits as i where i.inhrelid = relation
        union
        select i.inhparent from pg_catalog.pg_inherits as i join parent as p on i.inhrelid = p.oid
    ),
    child as (
        select i.inhrelid as oid from pg_catalog.pg_inherits as i where i.inhparent = relation
        union
        select i.inhrelid from pg_catalog.pg_inherits as i join child as c on i.inhparent = c.oid
    )
    select auth_reconciler.name_of(w.relation) into other
    from auth_reconciler.watched_table as w
    where w.relation in (select parent.oid from parent union all select child.oid from child)
    limit 1;
    if other is not null then
        raise exception 'table % cannot be watched: % is watched already, and one is a partition or child of the other', relation, other
            using errcode = 'object_not_in_prerequisite_state',
                  hint = format('Watch the parent alone: first select auth_reconciler.unwatch(%L).', other);
    end if;
    -- What the policy hides from whoever attaches the triggers would never be looked at.
    select auth_reconciler.hidden_rows(relation, r.oid) into problems
    from pg_catalog.pg_roles as r where r.rolname = current_user;
    if problems is not null then
        raise exception 'table % cannot be watched: its rows cannot all be seen', relation
            using errcode = 'insufficient_privilege', detail = problems,
                  hint = regexp_replace(problems, '^.*?: ', '');
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
set search_path = pg_catalog, pg_temp
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
set search_path = pg_catalog, pg_temp
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

create or replace function auth_reconciler.settle_name(relation regclass) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    wanted constant text := auth_reconciler.name_of(relation);
    gone regclass;
begin
    -- It was dropped and made again: what was recorded of the old one speaks of rows that are gone.
    for gone in
        select w.relation
        from auth_reconciler.watched_table as w
        where w.name = wanted and auth_reconciler.name_of(w.relation) is null
    loop
        perform auth_reconciler.unwatch(gone);
    end loop;
    -- It has been renamed, or took the name of one that was: whoever says so now means what stands there now.
    update auth_reconciler.watched_table as w
    set name = auth_reconciler.name_of(w.relation)
    where (w.relation = settle_name.relation or w.name = wanted)
        and auth_reconciler.name_of(w.relation) is not null
        and w.name is distinct from auth_reconciler.name_of(w.relation);
end
$body$;

comment on function auth_reconciler.settle_name(regclass) is
    'Gives a name to the table that bears it now, and forgets a dropped one that bore it.';

create or replace function auth_reconciler.enable_in_partitions(relation regclass) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    copy record;
begin
    for copy in
        select p.relid::regclass as partition, t.tgname
        from pg_catalog.pg_partition_tree(relation) as p
        join pg_catalog.pg_trigger as t on t.tgrelid = p.relid
        where p.level > 0 and t.tgenabled not in ('O', 'A')
            and t.tgfoid in ('auth_reconciler.log_change()'::regprocedure, 'auth_reconciler.keep_status()'::regprocedure)
    loop
        execute format('alter table %s enable trigger %I', copy.partition, copy.tgname);
    end loop;
end
$body$;

comment on function auth_reconciler.enable_in_partitions(regclass) is
    'Enables what somebody has disabled of our triggers on partitions. Call it with the table locked.';

create or replace function auth_reconciler.watch(relation regclass, assigned boolean default false) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    typed boolean;
    known auth_reconciler.watched_table;
    facts text;
    reason text;
begin
    perform auth_reconciler.check_watchable(relation);
    typed := auth_reconciler.is_typed(relation);
    perform auth_reconciler.settle_name(relation);
    select * into known from auth_reconciler.watched_table as w where w.relation = watch.relation;
    if auth_reconciler.is_watched(relation, assigned, typed) then
        return format('%s is watched already', relation);
    end if;
    if current_setting('max_prepared_transactions')::integer > 0 then
        raise warning 'max_prepared_transactions is %: a transaction that changes % and is then prepared will fail, because NOTIFY cannot be part of PREPARE TRANSACTION',
            current_setting('max_prepared_transactions'), relation;
    end if;

    if (select c.relrowsecurity from pg_catalog.pg_class as c where c.oid = relation) then
        raise warning 'row level security of table % is on: the role of the daemon must see all rows; as a superuser: alter role … bypassrls',
            relation;
    end if;

    for reason in select r from auth_reconciler.unwritable(relation) as r loop
        raise warning 'not every status can be written to %: %', relation, reason
            using hint = 'Correct the table: what it refuses is shown in auth_reconciler.problems as Unwritable.';
    end loop;
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
    insert into auth_reconciler.watched_table as w (relation, has_type_instance, assigned, name)
    values (watch.relation, typed, watch.assigned, auth_reconciler.name_of(watch.relation))
    on conflict on constraint watched_table_relation_key do update
        set has_type_instance = excluded.has_type_instance, assigned = excluded.assigned, name = excluded.name
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
                %3$s or old.auth_status is distinct from new.auth_status
            )
            execute function auth_reconciler.log_change(%2$L);
        $sql$,
        relation, known.id::text, facts);
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
    perform auth_reconciler.enable_in_partitions(relation);

    -- After the triggers: whatever is committed from now on is logged, and whatever was is here. To be read when this
    -- lock is gone, for the manager waits as long as it is held.
    insert into auth_reconciler.owed (watched_id, name, work) values (known.id, known.name, 'watch');
    perform pg_notify('auth_reconciler', 'scan');
    return format('%s is watched, its rows will be looked at', relation);
end
$body$;

comment on function auth_reconciler.watch(regclass, boolean) is
    'Attaches the triggers to a table of instances and has every row looked at: the daemon or the next migrate queues that, see backlog. With assigned => true a write that repeats api_key or account counts, too: the only sign of a restarted container where no Docker Engine can be reached.';

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
    removed auth_reconciler.watched_table;
begin
    -- A table that was dropped leaves its number behind, and is named by it.
    if exists (select from pg_catalog.pg_class as c where c.oid = relation) then
        perform auth_reconciler.lock_briefly(relation, 'access exclusive');
    end if;
    perform auth_reconciler.detach(relation);
    delete from auth_reconciler.watched_table as w where w.relation = unwatch.relation returning * into removed;
    if not found then
        return format('%s was not watched', relation);
    end if;
    -- By its number, which no table gets again: one that is watched anew has nothing in common with it.
    insert into auth_reconciler.owed (watched_id, name, work)
    values (removed.id, coalesce(removed.name, removed.relation::text), 'unwatch');
    perform pg_notify('auth_reconciler', 'scan');
    return format(
        '%s is no longer watched, what was recorded of its rows is removed by the daemon or the next migrate', relation);
end
$body$;

comment on function auth_reconciler.unwatch(regclass) is
    'Removes the triggers from a table; what was recorded of its rows is out of sight at once, and removed by the daemon or the next migrate.';
-- Whether our own functions and views are still what `migrate` made: somebody may have dropped or replaced one by hand, or
-- restored a part. From the catalog alone; the body is the query with which daemon, doctor and migrate ask, who do
-- not trust the functions that they ask about.

create or replace function auth_reconciler.altered_routines(made text)
returns table (problem text, why text, names text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $body$
with found as (
    -- Nothing in it is a number of an object: those are others after a dump and a restore, or an upgrade of the server.
    select 'function ' || p.proname as name, md5(string_agg(one.print, ',' order by one.print)) as print
    from pg_catalog.pg_proc as p
    join pg_catalog.pg_namespace as n on n.oid = p.pronamespace
    join pg_catalog.pg_language as l on l.oid = p.prolang
    cross join lateral (
        select md5(concat_ws(
            '/', l.lanname, p.prokind, p.prosecdef, p.provolatile, p.pronargs, p.proargnames, p.proconfig, p.prosrc)) as print
    ) as one
    where n.nspname = 'auth_reconciler'
    group by p.proname
    union all
    -- Of a view what it shows, not how: the server writes its definition anew in each of its versions.
    select 'view ' || c.relname, md5(string_agg(a.attname, ',' order by a.attnum))
    from pg_catalog.pg_class as c
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    join pg_catalog.pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    where n.nspname = 'auth_reconciler' and c.relkind = 'v'
    group by c.relname
)
-- What of that differs from what `migrate` noted ($1, see migration.made): no row if nothing does, or nothing was noted.
select
    'SchemaAltered' as problem,
    format(
        'functions or views of schema auth_reconciler are not as `auth-reconciler migrate` made them, so changes may be missed and statements fail; run `auth-reconciler migrate`: %s%s',
        array_to_string(d.names[:10], ', '),
        case when cardinality(d.names) > 10 then format(' and %s more', cardinality(d.names) - 10) else '' end) as why,
    array_to_string(d.names, ', ') as names
from (
    select array_agg(
        format('%s (%s)', m.name, case when f.name is null then 'missing' else 'changed' end) order by m.name) as names
    from jsonb_each_text($1::text::jsonb) as m (name, print)
    left join found as f on f.name = m.name
    where f.print is distinct from m.print
) as d
where d.names is not null
$body$;
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
    -- As in log_change(), and counted together with its rings.
    max_rings constant integer := 64;
    -- As in log_change(): only the first line of a transaction is written in a block with EXCEPTION.
    this_transaction constant text := pg_current_xact_id()::text;
    logged constant text := current_setting('auth_reconciler.logged', true);
    -- A look takes milliseconds; one that waits for an API that hangs knows no better than the writer.
    patience constant interval := '5 s';
    rings integer;
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
    if logged like '% cannot %' and logged = this_transaction || ' cannot ' || (
        select hashtextextended(this_transaction, pg_sequence_last_value(seal.id))
        from (select to_regclass('auth_reconciler.seal') as id) as seal
        where has_sequence_privilege(seal.id::oid, 'usage')
    ) then
        return new;
    end if;
    begin
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
    if logged = this_transaction || ' can'
        and has_table_privilege(to_regclass('auth_reconciler.change')::oid, 'insert')
    then
        insert into auth_reconciler.change
            (watched_id, instance_id, cause, from_status, to_status, application, role, kept)
        values (
            watched, new.id, 'drift', from_value, to_value, current_setting('application_name'), written_by, true);
    else
        begin
            insert into auth_reconciler.change
                (watched_id, instance_id, cause, from_status, to_status, application, role, kept)
            values (
                watched, new.id, 'drift', from_value, to_value, current_setting('application_name'), written_by, true);
            perform set_config('auth_reconciler.logged', this_transaction || ' can', true);
        exception when others then
            perform set_config('auth_reconciler.logged', this_transaction || ' cannot ' || (
                    select hashtextextended(this_transaction, pg_sequence_last_value(seal.id))
                    from (select to_regclass('auth_reconciler.seal') as id) as seal
                    where has_sequence_privilege(seal.id::oid, 'usage')
                ), true);
            perform nextval(counter.id) from (select to_regclass('auth_reconciler.unlogged') as id) as counter
                where has_sequence_privilege(counter.id::oid, 'usage');
            perform pg_notify('auth_reconciler', 'resync');
            return came;
        end;
    end if;
    rings := coalesce(substring(current_setting('auth_reconciler.rings', true) from '^[0-9]{1,4}$'), '0')::integer;
    if rings >= max_rings then
        perform pg_notify('auth_reconciler', 'scan');
    else
        perform set_config('auth_reconciler.rings', (rings + 1)::text, true);
        perform pg_notify('auth_reconciler', watched || '/' || new.id || '/drift');
    end if;
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
        create or replace trigger zz_auth_reconciler_guard before update on %1$s
            for each row when (old.auth_status is distinct from new.auth_status and not (%3$s))
            execute function auth_reconciler.keep_status(%2$L);
        -- Somebody may have disabled it.
        alter table %1$s enable trigger zz_auth_reconciler_guard;
        $sql$,
        relation, watched_id::text, auth_reconciler.facts_differ(typed));
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
-- Rights that a role lacks which reads a watched table and our schema. The body of this function is the query with which
-- doctor asks, who may not be allowed to call anything here: the two are one text.

create or replace function auth_reconciler.missing_rights(schema_name text, table_name text, reader name)
returns table (privilege text, remedy text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $body$
-- Rights that the daemon's role ($3, or whoever asks) lacks, each with the statement that grants it; deploy/grants.sql grants all.
-- From the catalog alone, so that it can be asked by a role that may not even use our schema. It is also the body of
-- the function missing_rights.
with reader as (
    select r.oid, r.rolname as name from pg_catalog.pg_roles as r where r.rolname = coalesce($3::name, current_user)
),
ours as (
    select n.oid, has_schema_privilege(reader.oid, n.oid, 'usage') as usable
    from pg_catalog.pg_namespace as n
    cross join reader
    where n.nspname = 'auth_reconciler'
),
wanted (privilege, remedy, held) as (
    select 'usage on schema auth_reconciler',
        format('grant usage on schema auth_reconciler to %I', reader.name),
        ours.usable
    from ours
    cross join reader
    union all
    select format('usage on schema %I', n.nspname),
        format('grant usage on schema %I to %I', n.nspname, reader.name),
        has_schema_privilege(reader.oid, n.oid, 'usage')
    from pg_catalog.pg_namespace as n
    cross join reader
    where n.nspname = $1::text
    union all
    select format('%s on column %s of %I.%I', needed.act, needed.name, n.nspname, c.relname),
        format('grant %s (%s) on %I.%I to %I', needed.act, needed.name, n.nspname, c.relname, reader.name),
        has_column_privilege(reader.oid, c.oid, a.attnum, needed.act)
    from pg_catalog.pg_class as c
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    cross join reader
    cross join (
        values ('select', 'id'), ('select', 'provider'), ('select', 'port_api'), ('select', 'api_key'),
            ('select', 'auth_status'), ('update', 'auth_status'), ('update', 'updated_at'), ('select', 'type_instance')
    ) as needed (act, name)
    join pg_catalog.pg_attribute as a on a.attrelid = c.oid and a.attname = needed.name and not a.attisdropped
    where n.nspname = $1::text and c.relname = $2::text
    union all
    select format('%s on table auth_reconciler.%s', needed.act, needed.name),
        format('grant %s on auth_reconciler.%s to %I', needed.act, needed.name, reader.name),
        has_table_privilege(reader.oid, c.oid, needed.act)
    from ours
    cross join reader
    join pg_catalog.pg_class as c on c.relnamespace = ours.oid
    join (
        values ('select', 'migration'), ('select', 'watched_table'),
            ('select', 'change'), ('insert', 'change'), ('delete', 'change'),
            ('select', 'instance'), ('insert', 'instance'), ('update', 'instance'), ('delete', 'instance'),
            ('select', 'transition'), ('insert', 'transition'), ('delete', 'transition'),
            ('select', 'journal'), ('insert', 'journal'), ('delete', 'journal'),
            ('select', 'pause'), ('delete', 'pause'),
            ('select', 'owed'), ('insert', 'owed'), ('update', 'owed'), ('delete', 'owed'),
            ('select', 'leadership'), ('insert', 'leadership'), ('update', 'leadership'),
            ('select', 'engine'), ('insert', 'engine'), ('update', 'engine'),
            -- For doctor and status, which read as this role, too.
            ('select', 'reconcilers'), ('select', 'instances')
    ) as needed (act, name) on needed.name = c.relname
    union all
    select format('execute on function %s', p.oid::regprocedure),
        format('grant execute on function %s to %I', p.oid::regprocedure, reader.name),
        has_function_privilege(reader.oid, p.oid, 'execute')
    from ours
    cross join reader
    join pg_catalog.pg_proc as p on p.pronamespace = ours.oid
    where p.proname in (
        'record', 'forget', 'refusal', 'spend', 'lock_key', 'key_class', 'key_hash', 'answer', 'prune', 'take_over',
        'leadership_lock', 'epoch_lock', 'note_engine', 'note_trouble', 'expand_truncations', 'missing_triggers', 'watched_rows',
        'is_typed', 'legible', 'escaped', 'faults_of', 'table_faults', 'faults',
        'processes', 'tell_watchers', 'write_status', 'unwritable', 'foreign_locks', 'unlogged_state', 'answered_unlogged',
        'work_off', 'copy_rows', 'remove_records', 'wrong_columns')
)
select privilege, remedy from wanted where not held
$body$;
-- Whether the watched tables are still what they were when they were watched: from the catalog alone, so that it
-- can be asked with each echo and costs no read of a table.

comment on function auth_reconciler.altered_routines(text) is
    'What of our functions and views is missing or changed since it was noted in migration.made: SchemaAltered, in words with the remedy.';

comment on function auth_reconciler.missing_rights(text, text, name) is
    'Rights that a role lacks to serve a watched table, each with the statement that grants it.';

create or replace function auth_reconciler.name_of(relation oid) returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $body$
    select format('%I.%I', n.nspname, c.relname)
    from pg_class as c
    join pg_namespace as n on n.oid = c.relnamespace
    where c.oid = relation
$body$;

comment on function auth_reconciler.name_of(oid) is 'Name of a table, qualified and quoted; null if it is gone.';

create or replace function auth_reconciler.hidden_rows(relation oid, reader oid) returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $body$
    select format(
        'row level security of table %s hides rows from role %I: as a superuser: alter role %I bypassrls; or as the owner of the table: alter table %s %s',
        auth_reconciler.name_of(c.oid), r.rolname, r.rolname, auth_reconciler.name_of(c.oid),
        case when o.owns then 'no force row level security' else 'disable row level security' end)
    from pg_class as c
    join pg_roles as r on r.oid = reader
    cross join lateral (select pg_has_role(r.oid, c.relowner, 'usage') as owns) as o
    where c.oid = relation and c.relrowsecurity and not r.rolsuper and not r.rolbypassrls
        and (c.relforcerowsecurity or not o.owns)
$body$;

comment on function auth_reconciler.hidden_rows(oid, oid) is
    'Why a role may not see all rows of a table, with what mends it; null if it sees them.';

create or replace function auth_reconciler.faults_of(
    relation oid, watched_name text, assigned boolean, typed boolean, reader oid
)
returns table (problem text, why text)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $body$
    with found as (
        select auth_reconciler.name_of(relation) as name, c.oid, c.relkind
        -- What stands under the name now, whoever may use its schema.
        from (select parse_ident(watched_name) as parts) as wanted
        left join pg_namespace as n on n.nspname = wanted.parts[1]
        left join pg_class as c on c.relnamespace = n.oid and c.relname = wanted.parts[2]
    )
    select
        case when f.name is null and f.oid is null then 'TableDropped' else 'TableReplaced' end,
        case
            when f.name is null and f.oid is null then format(
                'table %s was dropped: make it again and run `auth-reconciler migrate`, or give it up: select auth_reconciler.unwatch(relation) from auth_reconciler.watched_table where name = %L',
                coalesce(watched_name, relation::text), watched_name)
            when f.name is null then format(
                'table %s was dropped and made again', watched_name)
            else format('the name %s belongs to another table now, the one that is watched is called %s', watched_name, f.name)
        end
        || case
            when f.oid is null then ''
            when f.relkind in ('r', 'p') then
                ': changes of the new one are not seen; run `auth-reconciler migrate`'
            else ': it is no table, and cannot be watched; name the manager''s table in AUTH_RECONCILER_TABLE and run `auth-reconciler migrate`'
        end
    from found as f
    where f.name is null or f.oid is not null and f.oid <> relation
    union all
    select 'TriggersMissing', format(
        'triggers are missing or disabled, so changes of table %s are not seen; run `auth-reconciler migrate`: %s',
        f.name, array_to_string(m.missing, ', '))
    from found as f
    cross join lateral (select auth_reconciler.missing_triggers(relation, assigned) as missing) as m
    where f.name is not null and cardinality(m.missing) > 0
        -- Dropped with a column, they can be attached only when it is there again.
        and auth_reconciler.wrong_columns(relation, typed) is null
    union all
    select 'ColumnChanged', format(
        'table %s is not served: %s; undo that (rename the column back), or give the table up: select auth_reconciler.unwatch(%L)%s',
        f.name, c.wrong, f.name,
        case when auth_reconciler.wrong_columns(relation, false) is null
            then '; to serve every row from now on, without the column: run `auth-reconciler migrate`' else '' end)
    from found as f
    cross join lateral (select auth_reconciler.wrong_columns(relation, typed) as wrong) as c
    where f.name is not null and c.wrong is not null
    union all
    select 'ColumnAdded', format(
        'column type_instance of table %s came after it was watched: changes of it are not seen; run `auth-reconciler migrate`',
        f.name)
    from found as f
    where f.name is not null and not typed and auth_reconciler.is_typed(relation)
    union all
    select 'RowsHidden', h.why
    from (select auth_reconciler.hidden_rows(relation, reader) as why) as h
    where h.why is not null
    union all
    select 'RightsMissing', format('role %I lacks %s; as the owner: %s', r.rolname,
        string_agg(m.privilege, ', ' order by m.privilege), string_agg(m.remedy, '; ' order by m.privilege))
    from pg_class as c
    join pg_namespace as n on n.oid = c.relnamespace
    join pg_roles as r on r.oid = reader
    cross join lateral auth_reconciler.missing_rights(n.nspname, c.relname, r.rolname) as m
    where c.oid = relation
    group by r.rolname
$body$;

comment on function auth_reconciler.faults_of(oid, text, boolean, boolean, oid) is
    'What keeps us from seeing a table as it was watched: TableDropped, TableReplaced, TriggersMissing, ColumnChanged, ColumnAdded, RowsHidden and RightsMissing (of the role that reads), each in words with what mends it.';

create or replace function auth_reconciler.table_faults(reader oid)
returns table (problem text, why text)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $body$
    select f.problem, f.why
    from auth_reconciler.watched_table as w
    cross join lateral auth_reconciler.faults_of(w.relation, w.name, w.assigned, w.has_type_instance, reader) as f
    order by w.id
$body$;

comment on function auth_reconciler.table_faults(oid) is 'Faults of all watched tables, for a role that reads them.';
-- What is kept of what happened. Written and pruned in the transaction of a record or not at all: a quiet
-- fleet costs nothing, and without a daemon nothing but the change log grows.

create or replace function auth_reconciler.answer(watched_id integer, instance_id uuid, changes bigint[])
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
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
set search_path = pg_catalog, pg_temp
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
set search_path = pg_catalog, pg_temp
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
set search_path = pg_catalog, pg_temp
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
-- The write of a status to a watched table, and what becomes of one that cannot succeed.

create or replace function auth_reconciler.write_status(
    watched_id integer, relation text, instance_id uuid, status text, out written text, out refusal text
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    kept_path constant text := current_setting('search_path');
    change_status constant text := format(
        'update %s set auth_status = $2, updated_at = localtimestamp where id operator(pg_catalog.=) $1 '
        'returning auth_status::pg_catalog.text',
        relation);
    failed text;
    failed_in text;
    failed_constraint text;
    theirs boolean;
begin
    -- By this our triggers know the write as ours: it is taken back before the transaction ends, so nobody else
    -- ever sees it, and who may not write it cannot pretend. The setting only saves them the look.
    update auth_reconciler.instance as i
    set writing = write_status.status
    where i.watched_id = write_status.watched_id and i.instance_id = write_status.instance_id;
    -- Caught here, or the server would log the failing row with its key.
    begin
        perform set_config('auth_reconciler.writing', watched_id || '/' || instance_id || '/' || status, true);
        -- The table's own triggers run in it, deferred ones too, and find what they name without its
        -- schema where the session would find it, not where our statements do.
        perform pg_catalog.set_config(
            'search_path',
            coalesce(nullif(current_setting('auth_reconciler.session_path', true), ''), kept_path),
            true);
        -- Nothing is named in here until the path is ours again, but what is qualified.
        execute change_status into written using instance_id, status;
        set constraints all immediate;
        perform pg_catalog.set_config('search_path', kept_path, true);
        perform set_config('auth_reconciler.writing', '', true);
    -- OTHERS has neither of the first two, and a trigger may end with either.
    exception when query_canceled or assert_failure or others then
        get stacked diagnostics failed = returned_sqlstate, failed_in = pg_exception_context,
            failed_constraint = constraint_name;
        -- The words around our statement are in the language of the server.
        theirs := split_part(failed_in, change_status, 1) ~ E'\n';
        -- What may pass, and what our own statement lacks: a right, or a column or table that was renamed. But what
        -- somebody raises does not pass, whatever state he gives it.
        if not (theirs and split_part(failed_in, E'\n', 1) ~ '\m(RAISE|ASSERT)\M')
            and (
                left(failed, 2) in ('08', '25', '40', '53', '55', '57', '58', 'F0', 'XX')
                or (left(failed, 2) = '42' and failed <> '428C9' and not theirs)
            )
        then
            if theirs then
                -- Its own words may hold the row, and the server logs what leaves here.
                raise exception using errcode = failed,
                    message = format('a trigger, a check or a rule of table %s failed when auth_status was written', relation);
            end if;
            raise;
        end if;
        written := null;
        -- Never the message, the detail or the rest of the context: they may hold the row, its key and its token.
        failed_in := substring(failed_in from '(?n)^PL/pgSQL function ([^()]+\([^()]*\)) line [0-9]+');
        refusal := case
            when failed = '428C9' then 'it is a generated column'
            when failed_constraint <> '' then format('constraint %s refuses it', failed_constraint)
            when failed_in not like 'auth_reconciler.write_status(%' then format('trigger function %s fails', failed_in)
            when failed = '22001' then 'its type is too short'
            when failed = '23514' then 'no partition takes it'
            else 'a trigger, a check or a rule of the table fails'
        end || format(' (SQLSTATE %s)', failed);
    end;
end
$body$;

comment on function auth_reconciler.write_status(integer, text, uuid, text) is
    'Writes auth_status of one row as our own write. What the table makes of it: the value that was written, or what refused it. Call it behind the fence.';

create or replace function auth_reconciler.unwritable(relation regclass) returns setof text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $body$
declare
    statuses constant text[] := array['pending', 'qr_ready', 'authenticated', 'client_ready', 'failed'];
    found record;
    status text;
    allowed boolean;
    refused text[];
begin
    for found in
        select a.attname, a.attgenerated, format_type(a.atttypid, a.atttypmod) as type, a.atttypmod - 4 as length
        from pg_catalog.pg_attribute as a
        where a.attrelid = relation and a.attname in ('auth_status', 'updated_at') and not a.attisdropped
        order by a.attname
    loop
        if found.attgenerated <> '' then
            return next format('column %s is generated, so it cannot be written', found.attname);
        elsif found.attname = 'auth_status' and found.length > 0 then
            select array_agg(s order by place) into refused
            from unnest(statuses) with ordinality as t (s, place) where length(s) > found.length;
            if refused is not null then
                return next format(
                    'column auth_status is %s, too short for %s', found.type, array_to_string(refused, ', '));
            end if;
        end if;
    end loop;
    for found in
        select c.conname, pg_get_expr(c.conbin, c.conrelid) as expression, format_type(a.atttypid, a.atttypmod) as type
        from pg_catalog.pg_constraint as c
        join pg_catalog.pg_attribute as a on a.attrelid = c.conrelid and array[a.attnum] = c.conkey
        join pg_catalog.pg_type as t on t.oid = a.atttypid
        where c.conrelid = relation and c.contype = 'c' and a.attname = 'auth_status'
            -- Whoever watches the table may be a superuser, and who owns it may not: nothing of the owner's
            -- making is run to find out. What the system brings along is in no dependency.
            and t.typnamespace = 'pg_catalog'::regnamespace
            and not exists (
                select
                from pg_catalog.pg_depend as d
                where d.classid = 'pg_constraint'::regclass and d.objid = c.oid
                    and d.refclassid <> 'pg_class'::regclass
            )
        order by c.conname
    loop
        refused := '{}';
        foreach status in array statuses loop
            begin
                execute format(
                    'select (%s) from (select %L::%s as auth_status) as tried', found.expression, status, found.type)
                    into allowed;
                if allowed is false then
                    refused := refused || status;
                end if;
            exception when others then
                -- It fails for this value, or cannot be tried without the row: the write will tell.
                null;
            end;
        end loop;
        if refused <> '{}' then
            return next format('check constraint %s refuses %s', found.conname, array_to_string(refused, ', '));
        end if;
    end loop;
end
$body$;

comment on function auth_reconciler.unwritable(regclass) is
    'What the catalog shows of why a status of ours could not be written to a table, a sentence each. Runs nothing that the table''s owner made: a check that calls such a function is met when it refuses.';
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
set search_path = pg_catalog, pg_temp
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
set search_path = pg_catalog, pg_temp
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
set search_path = pg_catalog, pg_temp
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
set search_path = pg_catalog, pg_temp
as $body$
#variable_conflict use_column
declare
    verdict auth_reconciler.instance := jsonb_populate_record(null::auth_reconciler.instance, p_verdict);
    woken_ms constant double precision := (p_context ->> 'woken_ms')::double precision;
    retry_ms double precision := (p_context ->> 'retry_ms')::double precision;
    trouble_ms double precision := (p_context ->> 'trouble_ms')::double precision;
    overridden_retry_ms constant double precision := (p_context ->> 'overridden_retry_ms')::double precision;
    unwritable_retry_ms constant double precision := (p_context ->> 'unwritable_retry_ms')::double precision;
    relation text;
    present boolean;
    current_status text;
    written text;
    refusal text;
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
        select w.written, w.refusal into written, refusal
        from auth_reconciler.write_status(
            verdict.watched_id, relation, verdict.instance_id, verdict.auth_status) as w;
        -- A BEFORE trigger of somebody else may have replaced the value, or stopped the write.
        overridden := refusal is null and written is distinct from verdict.auth_status;
        wrote := refusal is null and not overridden;
    end if;

    -- 4. Note what was found, and delete exactly the changes that were read.
    this_moment := clock_timestamp();
    select min(c.changed_at) into noticed_at from auth_reconciler.change as c where c.id = any (p_changes);
    reaction_ms := coalesce(extract(epoch from this_moment - noticed_at)::double precision * 1000, woken_ms);
    if refusal is not null then
        verdict.reason := 'Unwritable';
        verdict.message := format(
            'auth_status of table %s cannot be set to %s: %s; correct the table or unwatch it',
            relation, verdict.auth_status, refusal);
        retry_ms := unwritable_retry_ms;
        trouble_ms := 0;
    end if;
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
        final = coalesce(verdict.final, false) and not overridden and refusal is null,
        writing = null,
        attempts = verdict.attempts,
        misses = verdict.misses,
        first_miss_at = verdict.first_miss_at,
        established = verdict.established,
        ready_at = verdict.ready_at,
        started_at = verdict.started_at,
        account_at = verdict.account_at,
        corrections_spent = verdict.corrections_spent,
        corrections_since = verdict.corrections_since,
        contested = verdict.contested,
        hold_until = verdict.hold_until,
        foreign_at = verdict.foreign_at,
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
    moved := not overridden and refusal is null and verdict.auth_status is not null
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
    outcome := case when refusal is not null then 'unwritable: ' || refusal
        when overridden then 'overridden' when wrote then 'written' else 'right' end;
end
$body$;

comment on function auth_reconciler.record(uuid, uuid, bigint[], jsonb, jsonb) is
    'Records one verdict behind the fence and writes auth_status if it differs. Outcome: written, right (it was so already), overridden (a trigger of the table replaced it), unwritable: and what of the table refuses it, busy (somebody holds the row), gone, unwatched, or the part of the fence that refused: epoch, version, change.';

create or replace function auth_reconciler.forget(
    p_epoch uuid, p_watched_id integer, p_instance_id uuid, p_version uuid, p_changes bigint[]
) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
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
set search_path = pg_catalog, pg_temp
as $body$
    with truncation as (
        delete from auth_reconciler.change as c where c.instance_id is null returning c.watched_id, c.changed_at
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
-- Whether the process that leads sees its container engine. Written when that changes, never by the clock.

create or replace function auth_reconciler.note_engine(
    p_epoch uuid, p_address text, p_seen boolean, p_detail text
) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
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
-- What keeps the process that leads from knowing. Written when it begins, changes and ends, never by the clock.

create or replace function auth_reconciler.note_trouble(p_epoch uuid, p_problem text, p_detail text) returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $body$
begin
    perform set_config('synchronous_commit', 'off', true);
    -- Its share keeps a take-over waiting: nothing of an old epoch is written over a new one.
    perform from auth_reconciler.leadership as l where l.epoch = p_epoch for share;
    if not found then
        return false;
    end if;
    if p_detail is null then
        delete from auth_reconciler.own_trouble as o where o.problem = p_problem;
        return true;
    end if;
    insert into auth_reconciler.own_trouble as o (problem, epoch, since, detail)
    values (p_problem, p_epoch, clock_timestamp(), p_detail)
    on conflict on constraint own_trouble_pkey do update
        set epoch = excluded.epoch,
            since = case when o.epoch = excluded.epoch then o.since else excluded.since end,
            detail = excluded.detail;
    return true;
end
$body$;

comment on function auth_reconciler.note_trouble(uuid, text, text) is
    'Notes what keeps the process of this epoch from knowing, or with null that it has ended; false if it no longer leads.';

create or replace function auth_reconciler.own_troubles()
returns table (problem text, since timestamptz, detail text)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $body$
begin
    -- A standby cannot read unlogged tables; and what nobody leads to mend is said by nobody.
    if pg_is_in_recovery() or auth_reconciler.nobody_leads() then
        return;
    end if;
    return query
    select o.problem, o.since, o.detail
    from auth_reconciler.own_trouble as o
    join auth_reconciler.leadership as l on l.epoch = o.epoch
    order by o.since;
end
$body$;

comment on function auth_reconciler.own_troubles() is
    'What keeps the process that leads from knowing: part of the views problems and reconcilers.';
-- Changes that could not be logged. The trigger counts them in a sequence, which no roll-back takes back; every row is
-- looked at when there are more of them than were answered for. A count may be seen before the change that it stands
-- for: so long as transactions run that may have counted, one more look at everything is owed when they have ended.

create or replace function auth_reconciler.unlogged_state(
    out owed boolean, out waits boolean, out counted bigint, out running_until text)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $body$
declare
    known auth_reconciler.unlogged_answered;
    seen pg_snapshot;
begin
    select u.last_value - case when u.is_called then 0 else 1 end into counted from auth_reconciler.unlogged as u;
    select * into known from auth_reconciler.unlogged_answered;
    -- After the count: whoever counted before it was read and still runs has a number below its end.
    select pg_current_snapshot() into seen;
    if counted is distinct from known.counted then
        owed := true;
        running_until := case when pg_snapshot_xmin(seen) < pg_snapshot_xmax(seen) then pg_snapshot_xmax(seen)::text end;
    elsif known.running_until <= pg_snapshot_xmin(seen) then
        -- Nobody has counted since, and all who may have before it have ended.
        owed := true;
    else
        owed := false;
        running_until := known.running_until::text;
    end if;
    waits := not owed and running_until is not null;
end
$body$;

comment on function auth_reconciler.unlogged_state() is
    'Whether every row is to be looked at because a change could not be logged, or will be when transactions that run now have ended; and what answered_unlogged() is told afterwards.';

create or replace function auth_reconciler.answered_unlogged(p_epoch uuid, p_counted bigint, p_running_until text)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $body$
begin
    perform from auth_reconciler.leadership as l where l.epoch = p_epoch for share;
    if not found then
        return false;
    end if;
    insert into auth_reconciler.unlogged_answered as u (counted, running_until)
    values (p_counted, p_running_until::xid8)
    on conflict on constraint unlogged_answered_pkey do update
        set counted = excluded.counted, running_until = excluded.running_until;
    return true;
end
$body$;

comment on function auth_reconciler.answered_unlogged(uuid, bigint, text) is
    'Notes that a change of every row was logged after unlogged_state() said so; false if the process of this epoch no longer leads.';
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
        -- A table that was dropped leaves its number behind, and one whose columns were renamed is told in problems.
        where exists (select from pg_class as c where c.oid = w.relation)
            and auth_reconciler.wrong_columns(w.relation, w.has_type_instance) is null
        order by w.id
    loop
        return query execute format(
            'select %L::integer, id, auth_reconciler.legible(provider::text), auth_reconciler.legible(auth_status::text) from %s',
            watched.id, watched.relation);
    end loop;
end
$body$;

comment on function auth_reconciler.watched_rows() is
    'The rows of all watched tables as they are now, but of one that has no longer the columns it was watched with. A function, because a view over the manager''s tables would stand in the way of its own migrations.';

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
            and auth_reconciler.wrong_columns(w.relation, w.has_type_instance) is null
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
            and auth_reconciler.wrong_columns(w.relation, w.has_type_instance) is null
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
    join pg_stat_activity as a on a.pid = l.pid
    where l.locktype = 'advisory' and l.granted and l.objsubid = 1
        -- Any role may take any lock: who is none of ours leads nothing, see foreign_locks().
        and a.application_name like 'auth-reconciler ear %'
        and has_table_privilege(a.usesysid, 'auth_reconciler.leadership', 'insert')
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
-- Any role may take any advisory lock. Whoever holds one of ours and is not ours is named. Ours is who says so by its name
-- and may write our tables: a name alone anybody may bear.

create or replace function auth_reconciler.foreign_locks()
returns table (lock text, pid integer, role name, application text, client_addr inet, since timestamptz, why text)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $body$
begin
    if pg_is_in_recovery() then
        return;
    end if;
    return query
    with held as (
        select l.pid, l.classid, l.objid, l.objsubid, l.mode, l.classid::bigint << 32 | l.objid::bigint as single
        from pg_locks as l
        where l.locktype = 'advisory' and l.granted
            and l.database = (select d.oid from pg_database as d where d.datname = current_database())
    ),
    ours (lock, pid, keys) as (
        select 'leadership', h.pid, 1::bigint
        from held as h
        where h.objsubid = 1 and h.single = auth_reconciler.leadership_lock()
        union all
        select 'key', h.pid, count(*)
        from held as h
        where h.objsubid = 2 and h.classid = auth_reconciler.key_class()::oid
        group by h.pid
        union all
        select 'epoch', h.pid, 1
        from auth_reconciler.leadership as l
        join held as h on h.objsubid = 1 and h.single = auth_reconciler.epoch_lock(l.epoch)
        where h.pid is distinct from l.pid
        union all
        select distinct case h.objid::integer when 0 then 'prune' else 'watch' end, h.pid, 1
        from held as h
        -- The first of the watchers' locks they share for as long as they watch.
        where h.objsubid = 2 and h.classid = 1635087465
            and (h.objid in (0, 2) or h.objid = 1 and h.mode = 'ExclusiveLock')
    )
    select
        o.lock, a.pid, a.usename, a.application_name, a.client_addr, a.backend_start,
        format(
            'session %s of role %s (application %s) holds %s and is none of ours: %s; end it with select pg_terminate_backend(%s)',
            a.pid, coalesce(a.usename, 'unknown'), coalesce(quote_literal(nullif(left(a.application_name, 63), '')), 'without a name'),
            case o.lock
                when 'leadership' then 'the lock of whoever leads'
                when 'epoch' then 'the lock of the last term'
                when 'prune' then 'the lock of whoever prunes history'
                when 'watch' then 'a lock of those who watch'
                else case when o.keys = 1 then 'the lock of an instance' else format('the locks of %s instances', o.keys) end
            end,
            case o.lock
                when 'leadership' then 'no daemon can lead'
                when 'epoch' then 'guard takes a daemon that has ended for one that lives'
                when 'prune' then 'history outlives its maximum age'
                when 'watch' then 'the command watch waits, and records ring for nobody'
                else 'nothing is recorded of what it locks'
            end,
            a.pid)
    from ours as o
    join pg_stat_activity as a on a.pid = o.pid
    where not (
            a.application_name like case o.lock when 'leadership' then 'auth-reconciler ear %' else 'auth-reconciler %' end
            and has_table_privilege(a.usesysid, 'auth_reconciler.leadership', 'insert')
        )
        -- An action of an operator's holds one for a moment, as a record does.
        and (o.lock = 'leadership' or coalesce(a.xact_start, a.backend_start) < clock_timestamp() - interval '2 s')
    order by o.lock = 'leadership' desc, a.pid, o.lock;
end
$body$;

comment on function auth_reconciler.foreign_locks() is
    'Sessions that hold the lock of whoever leads, or another one of ours for longer than a moment, and are none of ours: who they are and what that keeps from being done. Part of the views problems and reconcilers.';
-- Who runs and who leads, from the server's own sessions and locks and the row of the last take-over: no
-- heartbeat, and true when nobody is left to write one.

create or replace function auth_reconciler.stands_still(last_sign timestamptz) returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $body$
    -- Not one statement since it was rung for: whoever lives has read it by then.
    select exists (
        select
        from auth_reconciler.change as c
        left join auth_reconciler.instance as i on i.watched_id = c.watched_id and i.instance_id = c.instance_id
        where c.watched_id in (select w.id from auth_reconciler.watched_table as w)
            and c.changed_at > stands_still.last_sign
            and c.changed_at < statement_timestamp() - interval '10 s'
            and not (c.cause = 'drift' and coalesce(i.hold_until > statement_timestamp(), false))
    )
$body$;

comment on function auth_reconciler.stands_still(timestamptz) is
    'Whether changes wait that a process whose last statement was then has not read, though it was rung for.';

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
            -- Anybody may call a session so, but nobody else may write our tables.
            and has_table_privilege(a.usesysid, 'auth_reconciler.leadership', 'insert')
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
            case when e.leads then concat_ws('; ',
                    case when q.silent then 'hears, but does not answer since ' || p.last_sign else 'leads and hears' end,
                    t.said)
                else 'stands by: takes over when the active one ends' end as remark
        from ear as e
        cross join (select string_agg(o.detail, '; ') as said from auth_reconciler.own_troubles() as o) as t
        left join auth_reconciler.leadership as l
            -- The start of a session is hidden from an owner without pg_read_all_stats.
            on l.pid = e.pid and l.backend_start = coalesce(e.backend_start, l.backend_start) and e.leads
        left join pool as p on p.host = e.host and p.process = e.process
        cross join lateral (select e.leads and auth_reconciler.stands_still(p.last_sign) as silent) as q
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
        union all
        select
            'foreign', null, null, null, null, l.since, null, null, null, l.pid, null, l.role, l.client_addr, l.why
        from auth_reconciler.foreign_locks() as l
    )
    select
        f.role, f.hears, f.host, f.version, f.process::integer, f.since, f.active_since, f.term, f.last_sign, f.pid,
        case when f.role <> 'active' then null when e.epoch is null then 'unknown' when e.address = 'off' then 'off'
            when e.seen then 'seen' else 'not seen' end,
        e.since, e.address, e.detail, f.usename, f.client_addr, f.remark
    from found as f
    left join auth_reconciler.engine as e on e.epoch = f.epoch
    order by array_position(array['active', 'foreign', 'half-dead', 'dead', 'standby'], f.role), f.since;
end
$body$;

comment on function auth_reconciler.processes() is
    'What the view reconcilers shows. A function, because a standby could not read a view over unlogged tables.';

create or replace view auth_reconciler.reconcilers as
select
    p.role, p.hears, p.host, p.version, p.process, p.since, p.active_since, p.term, p.last_sign, p.pid, p.engine,
    p.engine_since, p.engine_address, p.engine_detail, p.db_user, p.client_addr, p.remark
from auth_reconciler.processes() as p;

comment on view auth_reconciler.reconcilers is
    'Who runs and who leads, from the server''s own sessions and locks: no active row, nobody leads; no row at all, nobody has led since the server last recovered from a crash.';
comment on column auth_reconciler.reconcilers.role is
    'active: leads; standby: waits to lead; half-dead: its ear is gone, its other sessions live; dead: led last, has ended, and nobody leads; foreign: none of ours, and holds a lock of ours; unknown: this server is a standby.';
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
-- What an operator reads. Ages and trouble are computed when asked, so they are true even when no
-- daemon runs.

create or replace view auth_reconciler.instances as
select
    r.instance_id as id,
    r.provider,
    r.auth_status,
    case when p.instance_id is null then i.reason else 'Paused' end as reason,
    case
        when p.instance_id is null then i.message || case when fight.slow
            then '; somebody else wrote its status more than 12 times within an hour: see the view drift' else '' end
        else auth_reconciler.legible(format('paused by %s: %s', p.paused_by, p.reason))
    end as message,
    case when p.instance_id is null then i.since else p.paused_at end as since,
    i.cause,
    round(i.reaction_ms::numeric, 1) as reaction_ms,
    i.next_attempt_at,
    p.instance_id is null and (coalesce(i.trouble_at <= now(), false) or fight.slow) as trouble,
    p.instance_id is null and coalesce(i.contested, 0) > 0 as contested,
    p.instance_id is not null as paused,
    auth_reconciler.legible(p.paused_by) as paused_by,
    p.paused_at,
    auth_reconciler.legible(p.reason) as pause_reason,
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
cross join lateral (
    select coalesce(i.foreign_at[13] > now() - interval '1 hour', false) as slow
) as fight
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
comment on column auth_reconciler.instances.trouble is 'Failed, contested, waiting for longer than the grace time, or written by somebody else more than 12 times within an hour; never while paused.';
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

create or replace view auth_reconciler.status as
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

create or replace view auth_reconciler.transitions as
select
    t.id,
    t.instance_id,
    t.at,
    auth_reconciler.legible(t.from_status) as from_status,
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

create or replace function auth_reconciler.faults() returns table (problem text, why text)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $body$
    select 'NobodyLeads', 'no daemon leads: no status is kept true and changes wait in the log; start one with `auth-reconciler run`'
    where auth_reconciler.nobody_leads()
    union all
    select 'LeaderSilent', format(
        'the daemon that leads (process %s on %s) answers for nothing since %s though changes wait: it is frozen or hangs; restart it',
        p.process, p.host, date_trunc('second', p.last_sign))
    from auth_reconciler.processes() as p
    where p.role = 'active' and auth_reconciler.stands_still(p.last_sign)
    union all
    select 'ForeignLock', l.why from auth_reconciler.foreign_locks() as l
    union all
    select a.problem, a.why
    from auth_reconciler.altered_routines((
        select m.made::text from auth_reconciler.migration as m order by m.version desc limit 1
    )) as a
    union all
    select f.problem, f.why
    from auth_reconciler.table_faults((
        -- As the daemon that leads sees them.
        select a.usesysid
        from pg_locks as l
        join pg_stat_activity as a on a.pid = l.pid
        where l.locktype = 'advisory' and l.granted
            and l.database = (select d.oid from pg_database as d where d.datname = current_database())
            and (l.classid::bigint << 32 | l.objid::bigint) = auth_reconciler.leadership_lock()
        limit 1
    )) as f
$body$;

comment on function auth_reconciler.faults() is
    'What is wrong with the whole rather than with one instance, in words: nobody leads, or who leads does not move, our functions are not as they were made, or a table is not seen as it was watched.';

create or replace view auth_reconciler.problems as
select every.id, every.problem, every.age, every.why, every.next, every.since
from (select
    null::uuid as id,
    f.problem,
    null::interval as age,
    auth_reconciler.fold(f.why, 29) as why,
    auth_reconciler.fold(
        case f.problem when 'NobodyLeads' then 'nothing until one is started'
            when 'LeaderSilent' then 'a second one takes over after 30 s, if one stands by'
            when 'ForeignLock' then 'nothing until that session ends' else 'nothing by itself' end, 18) as next,
    null::timestamptz as since,
    null::boolean as trouble,
    null::timestamptz as began
from auth_reconciler.faults() as f
union all
select
    null,
    o.problem,
    auth_reconciler.age_of(o.since) as age,
    auth_reconciler.fold(o.detail, 29) as why,
    auth_reconciler.fold('goes on trying; statuses stay as they are', 18) as next,
    date_trunc('second', o.since),
    null,
    o.since
from auth_reconciler.own_troubles() as o
union all
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
    date_trunc('second', what.since),
    i.trouble,
    what.since
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
            when i.reason = 'Unwritable' then 'Unwritable'
            when i.auth_status is distinct from i.verdict and i.unobserved = 0 then 'Overwritten'
            when i.auth_status is distinct from 'client_ready' then i.reason
        end as problem,
        case when i.unobserved > 0 and not i.paused and not i.contested then i.unobserved_since else i.since end as since
) as what
where what.problem is not null) as every
-- What concerns all comes first, what is worst of it at the top. The words are those of problem.rs.
left join (
    values
        (1, 'NobodyLeads'),
        (2, 'LeaderSilent'),
        (3, 'ForeignLock'),
        (4, 'SchemaAltered'),
        (5, 'TableDropped'),
        (6, 'TableReplaced'),
        (7, 'ColumnChanged'),
        (8, 'TriggersMissing'),
        (9, 'RowsHidden'),
        (10, 'RightsMissing'),
        (11, 'ColumnAdded'),
        (12, 'NotAsked'),
        (13, 'Doubt')
) as general (place, problem) on every.id is null and general.problem = every.problem
order by every.id is not null, general.place nulls last, every.trouble desc, every.began, every.problem, every.why, every.id;

comment on view auth_reconciler.problems is
    'What is wrong with the whole (nobody leads, a table is not seen, the daemon is kept from knowing), then what is not ready, contested, paused or stuck: why, for how long, and what happens next. Empty when all is well.';
comment on column auth_reconciler.problems.id is 'The instance; null for what concerns all.';
comment on column auth_reconciler.problems.problem is
    'NobodyLeads; LeaderSilent (it does not move); ForeignLock (somebody else holds a lock of ours); SchemaAltered (functions or views of ours were dropped or replaced); TableDropped, TableReplaced, ColumnChanged, TriggersMissing, ColumnAdded, RowsHidden, RightsMissing (of a watched table); NotAsked (the daemon lacks something of its own), Doubt (those that were ready are silent and nobody else answers); Paused (by an operator), Contested (two writers), Unanswered (a change waits for longer than a minute, or no daemon leads), Unseen (no look yet), Unwritable (the table refuses the status), Overwritten (the column differs from the verdict), else the reason of the verdict.';
comment on column auth_reconciler.problems.age is 'For how long.';
comment on column auth_reconciler.problems.why is 'What is the case and what to do, in words, broken into lines.';
comment on column auth_reconciler.problems.next is 'What happens next by itself, in words.';
comment on column auth_reconciler.problems.since is 'Since when.';

create or replace view auth_reconciler.backlog as
select b.id, b.changes, b.causes, b.age, b.why, b.since, b.watched_table
from (select
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
union all
select
    null,
    null,
    o.work,
    auth_reconciler.age_of(o.since),
    case o.work
        when 'watch' then format('looks at all rows of %s are yet to be queued', o.name)
        when 'truncate' then format('looks at what was recorded of %s before it was truncated are yet to be queued', o.name)
        else format('what was recorded of the rows of %s is yet to be removed', o.name)
    end || case when auth_reconciler.nobody_leads() then ': no daemon leads; `auth-reconciler migrate` does it, too'
        else ', piece by piece' end,
    o.since,
    w.relation
from auth_reconciler.owed as o
left join auth_reconciler.watched_table as w on w.id = o.watched_id) as b
order by b.since;

comment on view auth_reconciler.backlog is
    'What waits: changes that no look has answered for, one row per instance, and what watch() and unwatch() left to do. Empty when all is quiet.';
comment on column auth_reconciler.backlog.id is 'The instance; null when the whole table was truncated, watched or no longer watched.';
comment on column auth_reconciler.backlog.changes is 'How many of its changes wait; null for what concerns a whole table.';
comment on column auth_reconciler.backlog.causes is 'What changed.';
comment on column auth_reconciler.backlog.age is 'For how long the oldest of them waits.';
comment on column auth_reconciler.backlog.why is 'What they wait for.';
comment on column auth_reconciler.backlog.since is 'When the oldest of them was made.';
comment on column auth_reconciler.backlog.watched_table is 'The table of the row.';

create or replace view auth_reconciler.drift as
select
    w.instance_id as id,
    bool_or(coalesce(i.contested, 0) > 0) as contested,
    auth_reconciler.legible(w.application) as application,
    auth_reconciler.legible(w.role) as role,
    auth_reconciler.legible(w.from_status) as from_status,
    auth_reconciler.legible(w.to_status) as to_status,
    sum(w.times)::bigint as times,
    coalesce(sum(w.times) filter (where w.guarded), 0)::bigint as guarded,
    auth_reconciler.age_of(max(w.at)) as age,
    max(w.at) as last_at
from (
    select
        j.watched_id, j.instance_id, j.application, j.role, j.from_status, j.to_status, j.times,
        j.act = 'guarded' as guarded, j.at
    from auth_reconciler.journal as j
    where j.act in ('drift', 'guarded') and exists (
        select from auth_reconciler.watched_table as t where t.id = j.watched_id)
    union all
    select
        c.watched_id, c.instance_id, c.application, c.role, c.from_status, c.to_status, 1, c.kept is true, c.changed_at
    from auth_reconciler.change as c
    where c.cause = 'drift' and exists (
        select from auth_reconciler.watched_table as t where t.id = c.watched_id)
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

create or replace view auth_reconciler.latency as
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
join auth_reconciler.watched_table as w on w.id = t.watched_id
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

create or replace view auth_reconciler.history as
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

create or replace view auth_reconciler.tables as
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
            and exists (select from auth_reconciler.watched_table as w where w.id = j.watched_id)
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
            and exists (select from auth_reconciler.watched_table as w where w.id = t.watched_id)
        union all
        select
            c.changed_at, 3, 'waits',
            auth_reconciler.change_words(
                case when c.kept then 'guarded' when c.cause in ('drift', 'operator') then c.cause else 'change' end,
                c.cause, c.from_status, c.to_status, c.note, c.application, c.role, 1)
            || '; no look has answered for it yet'
        from auth_reconciler.change as c
        where c.instance_id = explain.instance_id
            and exists (select from auth_reconciler.watched_table as w where w.id = c.watched_id)
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
    select t.at, t.act, auth_reconciler.legible(t.what)
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
