-- What of that differs from what `migrate` noted ($1, see migration.made): no row if nothing does, or nothing was noted.
-- A function of a name of ours that takes something else than ours would be called where it fits better.
select
    'SchemaAltered' as problem,
    format(
        'functions or views of schema auth_reconciler are not as `auth-reconciler migrate` made them, so changes may be missed and statements fail; %s: %s%s',
        case when d.names is null then 'drop what is none of ours' else 'run `auth-reconciler migrate`' end,
        array_to_string((coalesce(d.names, '{}') || d.foreign_names)[:10], ', '),
        case when d.number > 10 then format(' and %s more', d.number - 10) else '' end) as why,
    array_to_string(d.names, ', ') as names
from (
    select
        count(*) as number,
        array_agg(format('%s (%s)', m.name, case when f.name is null then 'missing' else 'changed' end) order by m.name)
            filter (where m.name is not null) as names,
        coalesce(array_agg(format('%s (none of ours)', f.name) order by f.name) filter (where m.name is null), '{}')
            as foreign_names
    from jsonb_each_text($1::text::jsonb) as m (name, print)
    full join found as f on f.name = m.name
    where case
        when m.name is null then
            f.name like 'function %' and exists (
                select
                from jsonb_object_keys($1::text::jsonb) as ours (name)
                where split_part(ours.name, '(', 1) = split_part(f.name, '(', 1)
            )
        else
            f.name is null
            or split_part(f.print, ' ', 1) <> split_part(m.print, ' ', 1)
            -- What has numbers in it, where it was noted in the same place.
            or split_part(f.print, ' ', 2) = split_part(m.print, ' ', 2)
                and split_part(f.print, ' ', 3) <> split_part(m.print, ' ', 3)
    end
) as d
where d.number > 0
