-- The session that holds the leadership lock, which is the daemon's ear, in words. Without functions of our schema, which
-- may be of another version.
select format('session %s of role %s, application %s', a.pid, a.usename, coalesce(nullif(a.application_name, ''), 'unnamed')) as holder
from pg_catalog.pg_locks as l
join pg_catalog.pg_stat_activity as a on a.pid = l.pid
where l.locktype = 'advisory' and l.granted
    and l.database = (select d.oid from pg_catalog.pg_database as d where d.datname = current_database())
    and (l.classid::bigint << 32 | l.objid::bigint) = 7022647185898824559
limit 1
