-- The columns that we name of a watched table: from the catalog alone, so that it can be asked with each echo. Whatever
-- reads the manager's tables asks it first, and leaves out a table that no longer has them.

create or replace function auth_reconciler.is_typed(relation oid) returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $body$
    select exists (
        select
        from pg_attribute as a
        join pg_type as t on t.oid = a.atttypid
        -- Of another kind than the manager's it says nothing to us.
        where a.attrelid = relation and a.attname = 'type_instance' and not a.attisdropped
            and t.typelem in ('text'::regtype, 'varchar'::regtype)
    )
$body$;

comment on function auth_reconciler.is_typed(oid) is 'Whether a table has a type_instance column of the manager''s kind.';

create or replace function auth_reconciler.wrong_columns(relation oid, typed boolean) returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $body$
    select string_agg(
        case when a.attname is null
            then format('column %s is missing', wanted.name)
            else format('column %s is %s, not %s', wanted.name, format_type(a.atttypid, a.atttypmod), wanted.types)
        end, '; ' order by wanted.place)
    from (
        values
            (1, 'id', 'uuid', array['uuid']),
            (2, 'provider', 'text', array['text', 'varchar', 'bpchar']),
            (3, 'port_api', 'an integer', array['int4', 'int2', 'int8']),
            (4, 'api_key', 'text', array['text', 'varchar', 'bpchar']),
            (5, 'account', 'text', array['text', 'varchar', 'bpchar']),
            (6, 'auth_status', 'text', array['text', 'varchar']),
            (7, 'updated_at', 'a timestamp', array['timestamp', 'timestamptz']),
            (8, 'type_instance', 'a list of texts', array['_text', '_varchar'])
    ) as wanted (place, name, types, names)
    left join pg_attribute as a
        on a.attrelid = relation and a.attname = wanted.name and a.attnum > 0 and not a.attisdropped
    left join pg_type as t on t.oid = a.atttypid
    -- A type of that name in another schema is its maker's, and so are the casts that a read of it would call.
    where (
            a.attname is null or t.typname <> all (wanted.names) or t.typnamespace <> 'pg_catalog'::regnamespace
        )
        -- Without it every row is served; where it was, it is what tells whose rows are not ours.
        and (typed or wanted.name <> 'type_instance')
        and exists (select from pg_class as c where c.oid = relation)
$body$;

comment on function auth_reconciler.wrong_columns(oid, boolean) is
    'Every column that a table lacks to be watched, or has of another type, in words; null if none is wrong or the table is gone. typed: it was watched with a type_instance.';

