-- Whether a row of a watched table has the id $1. Asked through a view, which whoever may watch may read.
select exists (select from auth_reconciler.instances as i where i.id = $1::uuid)
