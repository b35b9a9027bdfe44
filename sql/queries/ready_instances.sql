-- Up to four instances that count as ready: whose word is asked for when another one is silent. Those that are not
-- themselves in a streak of misses come first. Four of each table are read, however many there are.
select i.watched_id, i.instance_id
from auth_reconciler.watched_table as w
cross join lateral (
    select first.watched_id, first.instance_id, first.misses
    from auth_reconciler.instance as first
    where first.watched_id = w.id and first.auth_status = 'client_ready'
    order by first.misses
    limit 4
) as i
order by i.misses
limit 4
