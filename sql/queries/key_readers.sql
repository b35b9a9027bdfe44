-- Which of the roles $1 may still read the keys of instances, by a right that names them.
select format('%s reads api_key of %s', r.rolname, string_agg(c.oid::regclass::text, ', ' order by c.oid)) as reader
from pg_catalog.pg_roles as r
join pg_catalog.pg_attribute as a on a.attname = 'api_key' and not a.attisdropped
join pg_catalog.pg_class as c on c.oid = a.attrelid and c.relkind in ('r', 'p')
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where r.rolname = any ($1::text[]) and not r.rolsuper
    and has_schema_privilege(r.oid, n.oid, 'usage') and has_column_privilege(r.oid, c.oid, a.attnum, 'select')
group by r.rolname
order by r.rolname
