-- Ends the session of an ear that fell silent, and never a later one with the same process number.
select pg_catalog.pg_terminate_backend(a.pid)
from pg_catalog.pg_stat_activity as a
where a.pid = $1::integer and a.backend_start = $2::timestamptz
