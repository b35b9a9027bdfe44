-- What was just made, for those who look later. Of what is in our schema only what is ours ($1).
update auth_reconciler.migration as m
set made = (
    select jsonb_object_agg(f.name, f.print) from found as f where split_part(f.name, ' ', 2) = any ($1::text[])
)
where m.version = (select max(newest.version) from auth_reconciler.migration as newest)
