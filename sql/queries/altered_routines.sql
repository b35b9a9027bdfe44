-- What of that differs from what `migrate` noted ($1, see migration.made): no row if nothing does, or nothing was noted.
select
    'SchemaAltered' as problem,
    format(
        'functions or views of schema auth_reconciler are not as `auth-reconciler migrate` made them, so changes may be missed and statements fail; run `auth-reconciler migrate`: %s%s',
        array_to_string(d.names[:10], ', '),
        case when cardinality(d.names) > 10 then format(' and %s more', cardinality(d.names) - 10) else '' end) as why,
    array_to_string(d.names, ', ') as names
from (
    select array_agg(
        format('%s (%s)', m.name, case when f.name is null then 'missing' else 'changed' end) order by m.name) as names
    from jsonb_each_text($1::text::jsonb) as m (name, print)
    left join found as f on f.name = m.name
    where f.print is distinct from m.print
) as d
where d.names is not null
