-- Three of the rows that say client_ready, each time others, whether or not a daemon ever looked at them.
select w.id as watched_id, s.id as instance_id
from auth_reconciler.instances as s
join auth_reconciler.watched_table as w on w.relation = s.watched_table
where s.auth_status = 'client_ready'
order by random()
limit 3
