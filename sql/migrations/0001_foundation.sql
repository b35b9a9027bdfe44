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
