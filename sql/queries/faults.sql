-- What is wrong with the whole, as the view problems says it.
select f.problem, f.why from auth_reconciler.faults() as f
