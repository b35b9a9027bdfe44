-- While not even log_all_rows.sql can log: every row, and every instance that was recorded.
select id as instance_id from {relation}
union
select i.instance_id from auth_reconciler.instance as i where i.watched_id = $1::integer
