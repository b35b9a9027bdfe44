-- The write of a status to a watched table, and what becomes of one that cannot succeed.

create or replace function auth_reconciler.write_status(
    watched_id integer, relation text, instance_id uuid, status text, out written text, out refusal text
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    kept_path constant text := current_setting('search_path');
    change_status constant text := format(
        'update %s set auth_status = $2, updated_at = localtimestamp where id operator(pg_catalog.=) $1 '
        'returning auth_status::pg_catalog.text',
        relation);
    failed text;
    failed_in text;
    failed_constraint text;
    theirs boolean;
begin
    -- By this our triggers know the write as ours: it is taken back before the transaction ends, so nobody else
    -- ever sees it, and who may not write it cannot pretend. The setting only saves them the look.
    update auth_reconciler.instance as i
    set writing = write_status.status
    where i.watched_id = write_status.watched_id and i.instance_id = write_status.instance_id;
    -- Caught here, or the server would log the failing row with its key.
    begin
        perform set_config('auth_reconciler.writing', watched_id || '/' || instance_id || '/' || status, true);
        -- The table's own triggers run in it, deferred ones too, and find what they name without its
        -- schema where the session would find it, not where our statements do.
        perform pg_catalog.set_config(
            'search_path',
            coalesce(nullif(current_setting('auth_reconciler.session_path', true), ''), kept_path),
            true);
        -- Nothing is named in here until the path is ours again, but what is qualified.
        execute change_status into written using instance_id, status;
        set constraints all immediate;
        perform pg_catalog.set_config('search_path', kept_path, true);
        perform set_config('auth_reconciler.writing', '', true);
    -- OTHERS has neither of the first two, and a trigger may end with either.
    exception when query_canceled or assert_failure or others then
        get stacked diagnostics failed = returned_sqlstate, failed_in = pg_exception_context,
            failed_constraint = constraint_name;
        -- The words around our statement are in the language of the server.
        theirs := split_part(failed_in, change_status, 1) ~ E'\n';
        -- What may pass, and what our own statement lacks: a right, or a column or table that was renamed. But what
        -- somebody raises does not pass, whatever state he gives it.
        if not (theirs and split_part(failed_in, E'\n', 1) ~ '\m(RAISE|ASSERT)\M')
            and (
                left(failed, 2) in ('08', '25', '40', '53', '55', '57', '58', 'F0', 'XX')
                or (left(failed, 2) = '42' and failed <> '428C9' and not theirs)
            )
        then
            if theirs then
                -- Its own words may hold the row, and the server logs what leaves here.
                raise exception using errcode = failed,
                    message = format('a trigger, a check or a rule of table %s failed when auth_status was written', relation);
            end if;
            raise;
        end if;
        written := null;
        -- Never the message, the detail or the rest of the context: they may hold the row, its key and its token.
        failed_in := substring(failed_in from '(?n)^PL/pgSQL function ([^()]+\([^()]*\)) line [0-9]+');
        refusal := case
            when failed = '428C9' then 'it is a generated column'
            when failed_constraint <> '' then format('constraint %s refuses it', failed_constraint)
            when failed_in not like 'auth_reconciler.write_status(%' then format('trigger function %s fails', failed_in)
            when failed = '22001' then 'its type is too short'
            when failed = '23514' then 'no partition takes it'
            else 'a trigger, a check or a rule of the table fails'
        end || format(' (SQLSTATE %s)', failed);
    end;
end
$body$;

comment on function auth_reconciler.write_status(integer, text, uuid, text) is
    'Writes auth_status of one row as our own write. What the table makes of it: the value that was written, or what refused it. Call it behind the fence.';

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
