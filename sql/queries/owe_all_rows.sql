-- After a change could not be logged: looks at all rows of every watched table are owed, which outlives whoever heard of
-- it. Where they are owed already, what was looked at before is looked at once more.
insert into auth_reconciler.owed as o (watched_id, name, work)
select w.id, coalesce(w.name, w.relation::text), 'resync'
from auth_reconciler.watched_table as w
on conflict (watched_id) where work = 'resync' do update set again = o.again or o.after_id is not null
