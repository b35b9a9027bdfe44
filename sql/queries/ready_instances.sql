-- Up to four instances that count as ready: whose word is asked for when another one is silent. Those that are not
-- themselves in a streak of misses come first; where there are four of them, nothing else is read, however many there are.
select found.watched_id, found.instance_id
from (
    (
        select i.watched_id, i.instance_id
        from auth_reconciler.instance as i
        where i.auth_status = 'client_ready' and i.misses = 0
            and i.watched_id in (select w.id from auth_reconciler.watched_table as w)
        limit 4
    )
    union all
    (
        select i.watched_id, i.instance_id
        from auth_reconciler.instance as i
        where i.auth_status = 'client_ready' and i.misses > 0
            and i.watched_id in (select w.id from auth_reconciler.watched_table as w)
        order by i.misses
        limit 4
    )
) as found
limit 4
