-- Every key that a scan must queue, for no read takes it from the log and nobody remembers it. $2: those whose changes were
-- put off; $1: those that were not recorded as final. Neither is asked for because somebody rings.
select c.watched_id, c.instance_id, (array_agg(c.cause order by c.cause = 'drift', c.id desc))[1] as cause
from auth_reconciler.change as c
where $2::boolean and c.put_off and c.instance_id is not null and c.watched_id in (select w.id from auth_reconciler.watched_table as w)
group by c.watched_id, c.instance_id
union all
select i.watched_id, i.instance_id, 'resync'
from auth_reconciler.instance as i
where $1::boolean and not i.settled
    and i.watched_id in (select w.id from auth_reconciler.watched_table as w)
