-- What was recorded of the containers, to be compared with a list of them. Where hands are off an instance its
-- container is nothing to us.
select
    i.watched_id,
    i.instance_id,
    i.settled,
    i.container_engine,
    i.container_id,
    i.container_name,
    i.container_state,
    i.container_started_at,
    i.container_network
from auth_reconciler.instance as i
where i.auth_status is not null and i.watched_id in (select w.id from auth_reconciler.watched_table as w)
