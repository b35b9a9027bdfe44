-- What was just made, for those who look later: the views that are ours ($1), and the functions that 90_rights.sql found made.
update auth_reconciler.migration as m
set made = (
    select jsonb_object_agg(f.name, f.print)
    from found as f
    where f.name like 'view %' and split_part(f.name, ' ', 2) = any ($1::text[])
        or f.name = any (current_setting('auth_reconciler.made_functions')::text[])
)
where m.version = (select max(newest.version) from auth_reconciler.migration as newest)
