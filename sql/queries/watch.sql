-- Watches a table, or makes sure that it is; what it was told about repeated values stays.
select auth_reconciler.watch(
    $1::oid::regclass,
    coalesce(
        (select w.assigned from auth_reconciler.watched_table as w where w.relation = $1::oid::regclass),
        false))
