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
