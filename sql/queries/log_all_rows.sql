-- After a change could not be logged: a change of every row, and of every instance that was recorded. In the
-- log, so that it outlives the process that heard of it.
insert into auth_reconciler.change (watched_id, instance_id, cause)
select $1::integer, id, 'resync' from {relation}
union
select i.watched_id, i.instance_id, 'resync' from auth_reconciler.instance as i where i.watched_id = $1::integer
