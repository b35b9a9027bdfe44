-- Up to four instances that count as ready: whose word is asked for when another one is silent. Those that are not
-- themselves in a streak of misses come first.
select i.watched_id, i.instance_id
from auth_reconciler.instance as i
where i.auth_status = 'client_ready' and i.watched_id in (select w.id from auth_reconciler.watched_table as w)
order by i.misses
limit 4
