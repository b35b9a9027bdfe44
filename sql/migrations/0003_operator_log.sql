-- What 0003_operator does to the change log, which the manager's triggers write to: last, and with a short lock.
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
