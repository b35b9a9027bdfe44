-- The change log is the queue: what of it was read and could not be answered for is marked, so that nobody finds it
-- again and again before what was not read yet.

-- With a default that is no expression no row is rewritten.
alter table auth_reconciler.change add column put_off boolean not null default false;

comment on column auth_reconciler.change.put_off is
    'A look has read it and could not answer for it (somebody holds the row, a correction waits): the process that leads looks again by itself, and another one begins with it.';

-- What is unread, in its order. By an expression that is the number itself: no other index has its order then, so no plan
-- can take another, whatever was in the log when it was made.
--
-- It is made here where that takes some milliseconds: the manager waits meanwhile. On a log that is, or has been, larger
-- it is made without anybody's waiting, when these locks are gone.
do $body$
begin
    if pg_catalog.pg_relation_size('auth_reconciler.change') <= 2 * 1024 * 1024 then
        create index change_unread_idx on auth_reconciler.change (watched_id, (+ id))
            where not put_off and instance_id is not null;
    end if;
end
$body$;
