-- Of two migrations at once, one waits here, before it has looked at anything. Another key than the
-- leader's.
begin transaction isolation level read committed, read write;
set local search_path = pg_catalog, pg_temp;
set local client_min_messages = warning;
set local statement_timeout = '5min';
set local idle_in_transaction_session_timeout = 0;
select pg_catalog.set_config('transaction_timeout', '0', true)
    where pg_catalog.current_setting('transaction_timeout', true) is not null;
set local lock_timeout = '2min';
select pg_catalog.pg_advisory_xact_lock(7022647185898824560);
select pg_catalog.set_config('lock_timeout', greatest(1, least(200, (250 * extract(
    epoch from pg_catalog.current_setting('deadlock_timeout')::interval))::integer))::text, true)
