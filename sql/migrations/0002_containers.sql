-- Containers: what each verdict saw of them, and whether the engine is in sight.

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
