-- What an operator calls.

create or replace function auth_reconciler.reconcile(instance_id uuid) returns text
language plpgsql
as $body$
declare
    watched auth_reconciler.watched_table;
    present boolean;
    found_in text[] := '{}';
begin
    for watched in
        select w.* from auth_reconciler.watched_table as w
        -- A table that was dropped leaves its number behind.
        where exists (select from pg_catalog.pg_class as c where c.oid = w.relation)
        order by w.id
    loop
        execute format('select true from %s where id = $1', watched.relation) into present using instance_id;
        if present or exists (
            select from auth_reconciler.instance as i
            where i.watched_id = watched.id and i.instance_id = reconcile.instance_id
        ) then
            insert into auth_reconciler.change (watched_id, instance_id, cause)
            values (watched.id, reconcile.instance_id, 'operator');
            perform pg_notify('auth_reconciler', watched.id || '/' || instance_id || '/operator');
            found_in := found_in || watched.relation::text;
        end if;
    end loop;
    if found_in = '{}' then
        return format('no watched table has an instance %s', instance_id);
    end if;
    return format('%s of %s will be looked at', instance_id, array_to_string(found_in, ' and '));
end
$body$;

comment on function auth_reconciler.reconcile(uuid) is
    'Has an instance looked at now, whatever is recorded of it.';

create or replace function auth_reconciler.reconcile_all() returns text
language plpgsql
as $body$
declare
    watched auth_reconciler.watched_table;
    rows_queued bigint;
    total bigint := 0;
begin
    for watched in
        select w.* from auth_reconciler.watched_table as w
        -- A table that was dropped leaves its number behind.
        where exists (select from pg_catalog.pg_class as c where c.oid = w.relation)
        order by w.id
    loop
        execute format(
            $sql$
            insert into auth_reconciler.change (watched_id, instance_id, cause)
            select %1$L::integer, id, 'operator' from %2$s
            union
            select watched_id, instance_id, 'operator' from auth_reconciler.instance where watched_id = %1$L::integer
            $sql$,
            watched.id, watched.relation);
        get diagnostics rows_queued = row_count;
        total := total + rows_queued;
    end loop;
    perform pg_notify('auth_reconciler', 'scan');
    return format('%s instances will be looked at', total);
end
$body$;

comment on function auth_reconciler.reconcile_all() is
    'Has every instance of every watched table looked at now.';

create or replace function auth_reconciler.watched_rows()
returns table (watched_id integer, instance_id uuid, provider text, auth_status text)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $body$
declare
    watched auth_reconciler.watched_table;
begin
    for watched in
        select w.* from auth_reconciler.watched_table as w
        -- A table that was dropped leaves its number behind.
        where exists (select from pg_class as c where c.oid = w.relation)
        order by w.id
    loop
        return query execute format(
            'select %L::integer, id, provider::text, auth_status::text from %s', watched.id, watched.relation);
    end loop;
end
$body$;

comment on function auth_reconciler.watched_rows() is
    'The rows of all watched tables as they are now. A function, because a view over the manager''s tables would stand in the way of its own migrations.';

revoke all on function auth_reconciler.watched_rows() from public;
