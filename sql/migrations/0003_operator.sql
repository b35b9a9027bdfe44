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
