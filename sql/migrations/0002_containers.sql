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
