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

-- Evidence: whether a verdict stands on an answer or the engine's word, and how often somebody else wrote.
alter table auth_reconciler.instance
    add column established boolean,
    add column foreign_at timestamptz[];

comment on column auth_reconciler.instance.established is
    'Whether an answer of the API, the engine''s word or misses with a witness stand behind the verdict. One that merely repeats what somebody else wrote is not established. Null in what an earlier version recorded.';
comment on column auth_reconciler.instance.foreign_at is
    'When the last looks found foreign writes of auth_status, the newest first, 13 at most: more than 12 within an hour are a slow fight, which is told.';

-- By what our triggers know our own write; a setting of the session was anybody's to make.
alter table auth_reconciler.instance add column writing text;
drop function if exists auth_reconciler.foreign_write(integer);

comment on column auth_reconciler.instance.writing is
    'The auth_status that the transaction of a record is writing; always null where anybody else can see it.';
