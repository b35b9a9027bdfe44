-- Only where something cannot be replaced as it stands: a view that lost a column or calls a function that must go, a
-- function that somebody has made again with another result. Without CASCADE: what somebody built on them is no business of
-- ours.

drop view if exists auth_reconciler.help;
drop view if exists auth_reconciler.last_day;
drop view if exists auth_reconciler.days;
drop view if exists auth_reconciler.spells;
drop view if exists auth_reconciler.problems;
drop view if exists auth_reconciler.problem_details;
drop view if exists auth_reconciler.status;
drop view if exists auth_reconciler.backlog;
drop view if exists auth_reconciler.drift;
drop view if exists auth_reconciler.drift_details;
drop view if exists auth_reconciler.drift_total;
drop view if exists auth_reconciler.latency;
drop view if exists auth_reconciler.tables;
drop view if exists auth_reconciler.history;
drop view if exists auth_reconciler.totals;
drop view if exists auth_reconciler.overview;
drop view if exists auth_reconciler.transitions;
drop view if exists auth_reconciler.instances;
drop view if exists auth_reconciler.judged_rows;
drop view if exists auth_reconciler.reconcilers;
drop view if exists auth_reconciler.reconciler_details;

do $body$
declare
    made regprocedure;
begin
    -- Those that were noted as ours and that nothing depends on, as triggers do on theirs.
    for made in
        select p.oid
        from pg_catalog.pg_proc as p
        where p.pronamespace = 'auth_reconciler'::regnamespace
            and exists (
                select
                from auth_reconciler.migration as m
                where m.made ? format('function %s(%s)', p.proname, oidvectortypes(p.proargtypes))
            )
            and not exists (
                select
                from pg_catalog.pg_depend as d
                where d.refclassid = 'pg_catalog.pg_proc'::regclass and d.refobjid = p.oid
            )
    loop
        execute format('drop function %s', made);
    end loop;
end
$body$;
