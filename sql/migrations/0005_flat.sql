-- What does not grow with the number of instances, or is done in pieces where it does.

-- After changes that could not be logged, looks at all rows are owed like those of a table that is watched since.
alter table auth_reconciler.owed
    drop constraint owed_work_check,
    add constraint owed_work_check check (work in ('watch', 'truncate', 'unwatch', 'resync')),
    add column again boolean not null default false,
    add column told_to uuid;

create unique index owed_resync_idx on auth_reconciler.owed (watched_id) where work = 'resync';

comment on table auth_reconciler.owed is
    'Work on all rows of a table that watch(), unwatch(), TRUNCATE and changes that could not be logged leave to the daemon or to the next migrate, which do it in pieces. Empty when all is done; read backlog instead.';
comment on column auth_reconciler.owed.work is
    'watch: a look at every row is yet to be queued. truncate: one for every row that was recorded, for it may be gone. unwatch: what was recorded of its rows is yet to be removed. resync: a change could not be logged, so a look at every row is yet to be queued.';
comment on column auth_reconciler.owed.again is
    'It was owed once more while it was under way: when it is done, it begins anew.';
comment on column auth_reconciler.owed.told_to is
    'Looks that could not even be logged were told to the process of this epoch, in whose memory alone they are: another process begins anew, and so does this one until all are in the log. Null while all of them are.';

-- They return something else, or are called otherwise, than those of the earlier version.
drop function if exists auth_reconciler.work_off(bigint, integer, uuid);
drop function if exists auth_reconciler.copy_rows(auth_reconciler.owed, integer);
