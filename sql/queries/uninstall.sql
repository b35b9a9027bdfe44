-- Watched tables first, then ours: the order in which everybody locks. One try, which the caller repeats:
-- whatever is locked is let go of before the next, because the manager queues behind it meanwhile.
-- How long is waited, the transaction's settings say.
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
        execute format('lock table %s in access exclusive mode', watched);
        -- Only the triggers: the rest goes with the schema, without deleting row by row under this lock.
        perform auth_reconciler.detach(watched);
    end loop;
end
$body$;
drop schema auth_reconciler cascade;
-- A daemon that still runs finds out at once rather than with its next echo.
select pg_catalog.pg_notify('auth_reconciler', 'scan');
