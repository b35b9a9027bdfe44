-- Who leads, what waits for it (neither held nor paused), and when its last statement beside the ear began. Asked by a process
-- that stands by, every few seconds: so it walks along indexes and ends at the first that waits, however many there are.
select
    e.pid,
    e.backend_start,
    (
        select min(waits.id)
        from auth_reconciler.watched_table as w
        cross join lateral (
            -- What the leader has put off it has read: it looks at that again by itself.
            select coalesce(
                (
                    select c.id
                    from (
                        select first.*, + first.id as number
                        from auth_reconciler.change as first
                        where first.watched_id = w.id and not first.put_off and first.instance_id is not null
                        order by number
                        limit 2000
                    ) as c
                    left join auth_reconciler.instance as i on i.watched_id = c.watched_id and i.instance_id = c.instance_id
                    where not (c.cause = 'drift' and coalesce(i.hold_until > now(), false))
                        and not exists (
                            select from auth_reconciler.pause as p
                            where p.watched_id = c.watched_id and p.instance_id = c.instance_id
                        )
                    order by c.number
                    limit 1
                ),
                -- Where so many are held back one after the other, what stands behind them is taken to wait.
                (
                    select c.id
                    from auth_reconciler.change as c
                    where c.watched_id = w.id and not c.put_off and c.instance_id is not null
                    order by + c.id
                    offset 1999
                    limit 1
                )
            ) as id
            union all
            -- That the table was truncated. There are few of them, and another index has them.
            select t.id
            from (
                select c.id
                from auth_reconciler.change as c
                where c.watched_id = w.id and c.instance_id is null
                offset 0
            ) as t
        ) as waits
    ) as oldest_change,
    (
        select min(due.next_attempt_at)
        from auth_reconciler.watched_table as w
        cross join lateral (
            select i.next_attempt_at
            from (
                -- now() rather than clock_timestamp(), which cannot bound the walk along an index.
                select first.*
                from auth_reconciler.instance as first
                where first.watched_id = w.id and not first.settled and first.next_attempt_at < now()
                order by first.next_attempt_at
                limit 2000
            ) as i
            where not exists (
                select from auth_reconciler.pause as p
                where p.watched_id = i.watched_id and p.instance_id = i.instance_id
            )
            order by i.next_attempt_at
            limit 1
        ) as due
    ) as oldest_due,
    (
        select max(s.query_start)
        from pg_catalog.pg_stat_activity as s
        where s.datname = current_database() and s.application_name like 'auth-reconciler pool %'
            and split_part(s.application_name, ' ', 4) = split_part(e.application_name, ' ', 4)
            and split_part(s.application_name, ' ', 5) = split_part(e.application_name, ' ', 5)
    ) as last_sign
from pg_catalog.pg_locks as l
join pg_catalog.pg_stat_activity as e on e.pid = l.pid
where l.locktype = 'advisory' and l.granted
    and l.database = (select d.oid from pg_catalog.pg_database as d where d.datname = current_database())
    and (l.classid::bigint << 32 | l.objid::bigint) = auth_reconciler.leadership_lock()
    -- Hidden from a role that could not end it either.
    and e.backend_start is not null
