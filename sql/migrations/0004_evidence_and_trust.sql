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
