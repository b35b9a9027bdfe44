-- A program that knows only the schema before this one records nothing more: its next record is refused, it
-- connects anew, and finds that it is too old.
delete from auth_reconciler.leadership;
-- One that has nothing to do would lead on until the next change, and keep its successor waiting: it is rung for some
-- instances, and the record of the first look is refused.
select pg_catalog.pg_notify('auth_reconciler', i.watched_id || '/' || i.instance_id || '/operator')
from auth_reconciler.instance as i
where i.watched_id in (
    select w.id
    from auth_reconciler.watched_table as w
    join pg_catalog.pg_class as c on c.oid = w.relation
)
limit 3;
