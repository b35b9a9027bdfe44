-- Of two migrations at once, one waits here. Another key than the leader's.
set lock_timeout = '2min';
select pg_catalog.pg_advisory_lock(7022647185898824560);
set lock_timeout = 0
