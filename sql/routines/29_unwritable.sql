-- What the catalog shows of why a status could not be written to a watched table.

create or replace function auth_reconciler.unwritable(relation regclass) returns setof text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $body$
declare
    statuses constant text[] := array['pending', 'qr_ready', 'authenticated', 'client_ready', 'failed'];
    found record;
    status text;
    allowed boolean;
    refused text[];
begin
    for found in
        select a.attname, a.attgenerated, format_type(a.atttypid, a.atttypmod) as type, a.atttypmod - 4 as length
        from pg_catalog.pg_attribute as a
        where a.attrelid = relation and a.attname in ('auth_status', 'updated_at') and not a.attisdropped
        order by a.attname
    loop
        if found.attgenerated <> '' then
            return next format('column %s is generated, so it cannot be written', found.attname);
        elsif found.attname = 'auth_status' and found.length > 0 then
            select array_agg(s order by place) into refused
            from unnest(statuses) with ordinality as t (s, place) where length(s) > found.length;
            if refused is not null then
                return next format(
                    'column auth_status is %s, too short for %s', found.type, array_to_string(refused, ', '));
            end if;
        end if;
    end loop;
    for found in
        select c.conname, pg_get_expr(c.conbin, c.conrelid) as expression, format_type(a.atttypid, a.atttypmod) as type
        from pg_catalog.pg_constraint as c
        join pg_catalog.pg_attribute as a on a.attrelid = c.conrelid and array[a.attnum] = c.conkey
        join pg_catalog.pg_type as t on t.oid = a.atttypid
        where c.conrelid = relation and c.contype = 'c' and a.attname = 'auth_status'
            -- Whoever watches the table may be a superuser, and who owns it may not: nothing of the owner's
            -- making is run to find out. What the system brings along is in no dependency.
            and t.typnamespace = 'pg_catalog'::regnamespace
            and not exists (
                select
                from pg_catalog.pg_depend as d
                where d.classid = 'pg_constraint'::regclass and d.objid = c.oid
                    and d.refclassid <> 'pg_class'::regclass
            )
        order by c.conname
    loop
        refused := '{}';
        foreach status in array statuses loop
            begin
                execute format(
                    'select (%s) from (select %L::%s as auth_status) as tried', found.expression, status, found.type)
                    into allowed;
                if allowed is false then
                    refused := refused || status;
                end if;
            exception when others then
                -- It fails for this value, or cannot be tried without the row: the write will tell.
                null;
            end;
        end loop;
        if refused <> '{}' then
            return next format('check constraint %s refuses %s', found.conname, array_to_string(refused, ', '));
        end if;
    end loop;
end
$body$;

comment on function auth_reconciler.unwritable(regclass) is
    'What the catalog shows of why a status of ours could not be written to a table, a sentence each. Runs nothing that the table''s owner made: a check that calls such a function is met when it refuses.';
