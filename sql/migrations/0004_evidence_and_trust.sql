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
