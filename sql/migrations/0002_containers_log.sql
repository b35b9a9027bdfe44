-- What 0002_containers does to a table that a record reads while it holds the manager's row: last, and with a short lock.

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
