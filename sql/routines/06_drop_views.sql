-- Only where a view cannot be replaced as it stands, because it lost a column or a function that it calls must go.
-- Without CASCADE: what somebody built on them is no business of ours.

drop view if exists auth_reconciler.problems;
drop view if exists auth_reconciler.status;
drop view if exists auth_reconciler.backlog;
drop view if exists auth_reconciler.drift;
drop view if exists auth_reconciler.latency;
drop view if exists auth_reconciler.tables;
drop view if exists auth_reconciler.history;
drop view if exists auth_reconciler.transitions;
drop view if exists auth_reconciler.instances;
drop view if exists auth_reconciler.reconcilers;
