-- A doorbell that is rung only for a reader that would not look by itself.
--
-- NOTIFY takes one lock for the whole server at each commit, and holds it while that commit is written to disk: managers
-- that save many keys at once would wait for each other. So while the daemon reads the change log over and over, nobody
-- rings for it. Who leads says which of the two it is by two locks of its listening session, with which they end:
--
-- * The sleeper's lock it shares from the take-over on, for as long as it has to be rung for. Where somebody else has it alone
--   just then, everybody rings for that; it is asked for again with each echo.
-- * The reader's lock it has alone for as long as it reads by itself.
--
-- Whoever commits is silent only if it sees the second one held *and* could have the first one alone. For any role may take any
-- advisory lock, or wait for one, which looks the same to others: by that it can have everybody ring, and it can pretend that
-- the log is being read, but it cannot take from whoever leads that it has to be rung for.
--
-- Whoever keeps silent holds a third lock, that of the silent ones, shared and until its commit can be seen. It is taken
-- before the others are looked at. A daemon that will read no longer takes the sleeper's lock and gives the reader's back; then
-- it waits for the third lock alone, and reads once more. Whoever was silent is in that read, and whoever comes later rings. The
-- same is done after each take-over. No commit ever waits: one that cannot have the third lock rings.
--
-- A transaction is asked for its first change, as it commits. One that has had its constraints checked earlier (set
-- constraints all immediate) is asked at that time, and so is one that is prepared for a two-phase commit: where it was
-- silent, the daemon waits for its end, and is rung for by everybody meanwhile.

create or replace function auth_reconciler.bell_class() returns integer
language sql
immutable
return 1635087465;

comment on function auth_reconciler.bell_class() is
    'First number of our advisory locks on no key: key_class() and one. The second one is that of prune_lock(), watch_lock(), silent_record_lock(), reader_lock(), silent_lock() or sleeper_lock().';

create or replace function auth_reconciler.prune_lock() returns integer
language sql
immutable
return 0;

comment on function auth_reconciler.prune_lock() is
    'Second number of the lock of the one record that forgets history of others that is too old.';

create or replace function auth_reconciler.watch_lock() returns integer
language sql
immutable
return 1;

comment on function auth_reconciler.watch_lock() is 'Second number of the lock that those who watch share.';

create or replace function auth_reconciler.silent_record_lock() returns integer
language sql
immutable
return 2;

comment on function auth_reconciler.silent_record_lock() is
    'Second number of the lock that those records share that ring for no watcher.';

create or replace function auth_reconciler.reader_lock() returns integer
language sql
immutable
return 3;

comment on function auth_reconciler.reader_lock() is
    'Second number of the lock that the session of whoever leads has alone while it reads the change log by itself.';

create or replace function auth_reconciler.sleeper_lock() returns integer
language sql
immutable
return 5;

comment on function auth_reconciler.sleeper_lock() is
    'Second number of the lock that the session of whoever leads shares while it has to be rung for.';

create or replace function auth_reconciler.silent_lock() returns integer
language sql
immutable
return 4;

comment on function auth_reconciler.silent_lock() is
    'Second number of the lock that those share who commit a change and ring for nobody.';

create or replace function auth_reconciler.ring_for_change() returns trigger
language plpgsql
security definer
as $body$
declare
    nothing pg_catalog.text;
begin
    -- One expression: nothing can end this statement between taking a lock of the session's and giving it back. Two who ask
    -- for the sleeper's lock in the same moment take each other for one, and ring.
    if (case
        when not pg_catalog.pg_try_advisory_xact_lock_shared(auth_reconciler.bell_class(), auth_reconciler.silent_lock())
        then false
        when not pg_catalog.pg_try_advisory_lock(auth_reconciler.bell_class(), auth_reconciler.sleeper_lock())
        then false
        when not pg_catalog.pg_advisory_unlock(auth_reconciler.bell_class(), auth_reconciler.sleeper_lock())
        then false
        when pg_catalog.pg_try_advisory_lock_shared(auth_reconciler.bell_class(), auth_reconciler.reader_lock())
        then not pg_catalog.pg_advisory_unlock_shared(auth_reconciler.bell_class(), auth_reconciler.reader_lock())
        -- Those who watch are told of foreign writes, whoever reads. Two who ask in the same moment may take each other
        -- for one, and ring for nobody.
        when new.cause operator(pg_catalog.<>) 'drift' then true
        when pg_catalog.pg_try_advisory_lock(auth_reconciler.bell_class(), auth_reconciler.watch_lock())
        then pg_catalog.pg_advisory_unlock(auth_reconciler.bell_class(), auth_reconciler.watch_lock())
        else false
    end) then
        return null;
    end if;
    -- The key is for people who listen. What happened to it stands in the log.
    nothing := pg_catalog.pg_notify(
        'auth_reconciler', pg_catalog.concat_ws('/', new.watched_id, new.instance_id, new.cause))::pg_catalog.text;
    return null;
exception when others then
    -- The manager's commit goes through, whatever is wrong.
    begin
        nothing := pg_catalog.pg_notify('auth_reconciler', 'log')::pg_catalog.text;
    exception when others then
        null;
    end;
    return null;
end
$body$;

comment on function auth_reconciler.ring_for_change() is
    'Trigger of the change log, run at the commit of a transaction for its first change: rings with the key, unless whoever leads reads on by itself.';

revoke all on function auth_reconciler.ring_for_change() from public;

create or replace function auth_reconciler.hold_sleeper_lock() returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    limit_before constant text := current_setting('lock_timeout');
    nothing text;
begin
    if current_setting('auth_reconciler.sleeps', true) = 'yes' then
        return true;
    end if;
    -- A writer has it for a moment, or somebody else for long: then everybody rings as long as that lasts.
    nothing := set_config('lock_timeout', '200ms', true);
    perform pg_advisory_lock_shared(auth_reconciler.bell_class(), auth_reconciler.sleeper_lock());
    nothing := set_config('lock_timeout', limit_before, true);
    nothing := set_config('auth_reconciler.sleeps', 'yes', false);
    return true;
exception when lock_not_available then
    return false;
end
$body$;

comment on function auth_reconciler.hold_sleeper_lock() is
    'Shares the sleeper''s lock for the listening session of whoever leads: as long as it has it, everybody rings who commits. False if somebody else holds it alone, which has everybody ring, too.';

create or replace function auth_reconciler.silence() returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    nothing text;
begin
    if not pg_try_advisory_lock(auth_reconciler.bell_class(), auth_reconciler.reader_lock()) then
        return false;
    end if;
    nothing := set_config('auth_reconciler.reads', 'yes', false);
    if current_setting('auth_reconciler.sleeps', true) = 'yes' then
        nothing := pg_advisory_unlock_shared(auth_reconciler.bell_class(), auth_reconciler.sleeper_lock());
        nothing := set_config('auth_reconciler.sleeps', 'no', false);
    end if;
    return true;
end
$body$;

comment on function auth_reconciler.silence() is
    'Has nobody ring any more, until resound(); for the listening session of whoever leads, which has to read the change log until then. False if that cannot be had now.';

-- It returned nothing before.
drop function if exists auth_reconciler.resound();

create or replace function auth_reconciler.resound() returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    has_lock constant boolean := auth_reconciler.hold_sleeper_lock();
    nothing text;
begin
    if current_setting('auth_reconciler.reads', true) = 'yes' then
        nothing := pg_advisory_unlock(auth_reconciler.bell_class(), auth_reconciler.reader_lock());
        nothing := set_config('auth_reconciler.reads', 'no', false);
    end if;
    return has_lock;
end
$body$;

comment on function auth_reconciler.resound() is
    'Has everybody ring again who commits from now on. Wait for those who were silent before, and read once more. False if the sleeper''s lock could not be had: then everybody rings until somebody else gives it back, and it is to be asked for again.';

create or replace function auth_reconciler.await_silent() returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
begin
    perform pg_advisory_xact_lock(auth_reconciler.bell_class(), auth_reconciler.silent_lock());
    return true;
exception when lock_not_available then
    return false;
end
$body$;

comment on function auth_reconciler.await_silent() is
    'Waits until whoever was silent has committed, for as long as lock_timeout allows. False if somebody has not. Nobody is silent while this waits.';
