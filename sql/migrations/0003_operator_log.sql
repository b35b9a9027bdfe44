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
