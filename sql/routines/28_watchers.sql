-- How those who follow transitions live hear of them, and why it costs nothing while nobody does.
--
-- NOTIFY takes one lock for the whole server at commit, so a record rings only while somebody watches. Who
-- watches holds a lock, shared with all others who do; a record tries to take it from them, which is a look
-- into shared memory: no table is read, and pg_locks, which stops every locker of the server, is not asked.
--
-- What was decided before a watcher came must not slip past it. So a record that keeps silent holds a second
-- lock, shared with all other records, to the end of its transaction; a watcher that has taken the first lock
-- and listens waits for the second one once. After that every transition has been committed, and is read, or
-- rings, and is heard. A record never waits: one that cannot have the second lock rings.
--
-- Any role may hold either lock, or wait for it. By that it has records ring though nobody watches, or has whoever wants to
-- watch wait, and fail after a while. But it cannot have a record keep silent while somebody watches: nobody can take from a
-- watcher the lock that it shares, and while it is shared no record can have it alone.

create or replace function auth_reconciler.begin_watching() returns void
language plpgsql
-- Who may watch need not know the numbers of our locks. They belong to the session, whoever takes them.
security definer
set search_path = pg_catalog, pg_temp
as $body$
begin
    perform pg_advisory_lock_shared(auth_reconciler.bell_class(), auth_reconciler.watch_lock());
    -- While this waits, no record takes the other lock any more, so they cannot keep it waiting for long.
    perform pg_advisory_lock(auth_reconciler.bell_class(), auth_reconciler.silent_record_lock());
    perform pg_advisory_unlock(auth_reconciler.bell_class(), auth_reconciler.silent_record_lock());
    -- Who writes auth_status beside us may be silent, too, see ring_for_change(), and is not waited for: whoever has decided to
    -- be silent has written before that, so before this, and of foreign writes a watcher shows those that are made after it.
end
$body$;

comment on function auth_reconciler.begin_watching() is
    'Has records ring on the channel auth_reconciler_watch with the number of each transition, until this session ends. LISTEN first and read afterwards: then nothing is missed. Through a transaction pooler it would be left behind in a session of somebody else.';

create or replace function auth_reconciler.tell_watchers(transition_ids bigint[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    transition_id bigint;
begin
    -- One expression: nothing can end this statement between taking the first lock and giving it back. Two
    -- records that ask in the same moment may take each other for a watcher, and ring for nobody.
    if (case
        when not pg_try_advisory_xact_lock_shared(auth_reconciler.bell_class(), auth_reconciler.silent_record_lock()) then false
        when pg_try_advisory_lock(auth_reconciler.bell_class(), auth_reconciler.watch_lock())
        then pg_advisory_unlock(auth_reconciler.bell_class(), auth_reconciler.watch_lock())
        else false
    end) then
        return;
    end if;
    foreach transition_id in array transition_ids loop
        perform pg_notify('auth_reconciler_watch', transition_id::text);
    end loop;
end
$body$;

comment on function auth_reconciler.tell_watchers(bigint[]) is
    'Rings for those who follow transitions, if anybody does. Never waits. Call it once in a transaction.';

drop function if exists auth_reconciler.tell_watchers(bigint);
