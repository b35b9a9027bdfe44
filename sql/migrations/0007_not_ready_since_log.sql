-- What 0007_not_ready_since does to a table that the manager's triggers read: nullable and without a default, so no row is
-- rewritten.

alter table auth_reconciler.instance add column not_ready_since timestamptz;

comment on column auth_reconciler.instance.not_ready_since is
    'When the API said for the first time in this life of the instance that it is not connected or that its provider has an error. Silence since leaves it; null after a good answer, in another life, and before either was said.';
