-- Tables that are watched, but not as this version watches them, those that settings name aside.
select w.relation::oid as oid, auth_reconciler.name_of(w.relation) as name
from auth_reconciler.watched_table as w
join pg_catalog.pg_class as c on c.oid = w.relation
where w.relation <> all ($1::oid[])
    and not auth_reconciler.is_watched(w.relation, w.assigned, auth_reconciler.is_typed(w.relation))
order by w.id
