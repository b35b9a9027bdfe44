-- With a default that is no expression no row is rewritten.
alter table auth_reconciler.change add column rings boolean not null default false;

comment on column auth_reconciler.change.rings is
    'It is the first change of its transaction: when that commits, whoever leads is rung for, unless it reads on by itself.';

-- On our table rather than on the watched one, where a waiting trigger would make an ALTER TABLE of the same transaction fail.
create constraint trigger auth_reconciler_rings
    after insert on auth_reconciler.change
    deferrable initially deferred
    for each row when (new.rings)
    execute function auth_reconciler.ring_for_change();
comment on trigger auth_reconciler_rings on auth_reconciler.change is
    'Rings at the commit, if there is somebody to be rung for.';
