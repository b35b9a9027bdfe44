-- What the last `migrate` noted of functions and views.
select m.made::text as made from auth_reconciler.migration as m order by m.version desc limit 1
