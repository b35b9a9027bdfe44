-- Watched tables first, then ours: the order in which everybody locks.
do $body$
declare
    watched regclass;
begin
    for watched in
        select w.relation
        from auth_reconciler.watched_table as w
        where exists (select from pg_catalog.pg_class as c where c.oid = w.relation)
        order by w.relation::oid
    loop
        perform auth_reconciler.unwatch(watched);
    end loop;
end
$body$;
set local lock_timeout = '200ms';
drop schema auth_reconciler cascade;
