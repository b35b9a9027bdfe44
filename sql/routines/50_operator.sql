-- What an operator calls. With the rights of the owner, so that a member of auth_reconciler needs the
-- right to call it and nothing else.

create or replace function auth_reconciler.readable_tables() returns setof auth_reconciler.watched_table
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $body$
    -- A table that was dropped leaves its number behind, and one whose columns were renamed is told in problems.
    select w.*
    from auth_reconciler.watched_table as w
    where exists (select from pg_class as c where c.oid = w.relation)
        and auth_reconciler.wrong_columns(w.relation, w.has_type_instance) is null
    order by w.id
$body$;

comment on function auth_reconciler.readable_tables() is
    'The watched tables that are there, with the columns that they were watched with.';

create or replace function auth_reconciler.watched_rows()
returns table (watched_id integer, instance_id uuid, provider text, auth_status text)
language plpgsql
stable
-- How many there are the planner cannot know. Taken for few, each would be looked up in what was recorded for itself.
rows 100000
security definer
set search_path = pg_catalog, pg_temp
-- Else 100,000 rows are written to a file first.
set work_mem = '32MB'
as $body$
declare
    watched auth_reconciler.watched_table;
begin
    for watched in select * from auth_reconciler.readable_tables() loop
        return query execute format(
            $sql$
            select %1$L::integer, w.id, auth_reconciler.legible(w.provider::text), auth_reconciler.legible(w.auth_status::text)
            from %2$s as w
            $sql$,
            watched.id, watched.relation);
    end loop;
end
$body$;

comment on function auth_reconciler.watched_rows() is
    'The rows of all watched tables as they are now. A function, because a view over the manager''s tables would stand in the way of its own migrations.';

create or replace function auth_reconciler.odd_rows()
returns table (watched_id integer, instance_id uuid, provider text, auth_status text)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
-- A table of all ids is made in memory, in less time than it takes to have the statement compiled.
set work_mem = '32MB'
set jit = off
as $body$
declare
    watched auth_reconciler.watched_table;
begin
    for watched in select * from auth_reconciler.readable_tables() loop
        return query execute format(
            $sql$
            select %1$L::integer, w.id, auth_reconciler.legible(w.provider::text), auth_reconciler.legible(w.auth_status::text)
            from (
                select r.id from %2$s as r where r.auth_status::text is distinct from 'client_ready'
                union
                select r.id from %2$s as r
                where not exists (
                    select from auth_reconciler.instance as i where i.watched_id = %1$L::integer and i.instance_id = r.id
                )
                union
                select i.instance_id from auth_reconciler.instance as i
                where i.watched_id = %1$L::integer and (i.auth_status is distinct from 'client_ready' or i.contested > 0)
                union
                select c.instance_id from auth_reconciler.change as c where c.watched_id = %1$L::integer
                union
                select p.instance_id from auth_reconciler.pause as p where p.watched_id = %1$L::integer
            ) as odd
            join %2$s as w on w.id = odd.id
            $sql$,
            watched.id, watched.relation);
    end loop;
end
$body$;

comment on function auth_reconciler.odd_rows() is
    'Those of watched_rows() that are not ready, not recorded as ready, contested, paused, or changed since they were looked at: few where all is well, however many there are.';

create or replace function auth_reconciler.counted_rows()
returns table (
    auth_status text, reason text, instances bigint, in_trouble bigint, contested bigint, paused bigint, newest timestamptz,
    oldest timestamptz
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
-- See odd_rows().
set work_mem = '32MB'
set jit = off
as $body$
declare
    watched auth_reconciler.watched_table;
begin
    for watched in select * from auth_reconciler.readable_tables() loop
        -- As in judged_rows, but for what a count has no use for. Counted in two steps, so that each row passes by few
        -- aggregates; and without any function of ours, for then the server has two processes count.
        return query execute format(
            $sql$
            select
                c.auth_status,
                case when c.paused then 'Paused' else c.reason end,
                sum(c.instances)::bigint,
                coalesce(sum(c.instances) filter (where c.in_trouble and not c.paused), 0)::bigint,
                coalesce(sum(c.instances) filter (where c.contested and not c.paused), 0)::bigint,
                coalesce(sum(c.instances) filter (where c.paused), 0)::bigint,
                max(c.newest),
                min(c.oldest)
            from (
                select
                    w.auth_status::text as auth_status,
                    i.reason,
                    p.instance_id is not null as paused,
                    i.in_trouble,
                    i.contested,
                    count(*) as instances,
                    max(coalesce(p.paused_at, i.since)) as newest,
                    min(coalesce(p.paused_at, i.since)) as oldest
                from %2$s as w
                left join (
                    select
                        r.instance_id, r.reason, r.since, r.contested > 0 as contested,
                        coalesce(r.trouble_at <= now(), false) or coalesce(r.foreign_at[13] > now() - interval '1 hour', false)
                            as in_trouble
                    from auth_reconciler.instance as r
                    where r.watched_id = %1$L::integer
                ) as i on i.instance_id = w.id
                left join auth_reconciler.pause as p on p.watched_id = %1$L::integer and p.instance_id = w.id
                group by 1, 2, 3, 4, 5
            ) as c
            group by 1, 2
            $sql$,
            watched.id, watched.relation);
    end loop;
end
$body$;

comment on function auth_reconciler.counted_rows() is
    'How many of watched_rows() there are of each status and reason, and since when, in each watched table. The status is as it stands there: ask legible() before it is shown.';

create or replace function auth_reconciler.rows_of(instance_id uuid)
returns table (watched_id integer, auth_status text)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $body$
declare
    watched auth_reconciler.watched_table;
begin
    for watched in select * from auth_reconciler.readable_tables() loop
        return query execute format(
            'select %L::integer, auth_reconciler.legible(w.auth_status::text) from %s as w where w.id = $1',
            watched.id, watched.relation)
        using instance_id;
    end loop;
end
$body$;

comment on function auth_reconciler.rows_of(uuid) is 'Those of watched_rows() that have this id, found by it.';

create or replace function auth_reconciler.places(instance_id uuid)
returns table (watched_id integer, relation regclass)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $body$
declare
    watched auth_reconciler.watched_table;
    present boolean;
begin
    for watched in select * from auth_reconciler.readable_tables() loop
        execute format('select true from %s where id = $1', watched.relation) into present using instance_id;
        if present or exists (
            select from auth_reconciler.instance as i
            where i.watched_id = watched.id and i.instance_id = places.instance_id
        ) then
            watched_id := watched.id;
            relation := watched.relation;
            return next;
        end if;
    end loop;
end
$body$;

comment on function auth_reconciler.places(uuid) is
    'The watched tables that have an instance, or of which one is recorded.';

create or replace function auth_reconciler.operator_name() returns text
language sql
stable
return session_user || case when current_setting('role') in ('none', session_user) then ''
    else ' as ' || current_setting('role') end;

comment on function auth_reconciler.operator_name() is
    'Who calls: the role of the session, and the one it has set.';

create or replace function auth_reconciler.ask(watched_id integer, instance_id uuid, note text) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $body$
begin
    -- Before a number of the log is drawn, see log_change().
    perform pg_current_xact_id();
    insert into auth_reconciler.change (watched_id, instance_id, cause, application, role, note)
    values (
        watched_id, instance_id, 'operator', current_setting('application_name'), auth_reconciler.operator_name(),
        note);
    perform pg_notify('auth_reconciler', watched_id || '/' || instance_id || '/operator');
end
$body$;

comment on function auth_reconciler.ask(integer, uuid, text) is
    'Logs what an operator did as a change of the instance, and rings.';

create or replace function auth_reconciler.reconcile(instance_id uuid) returns text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $body$
declare
    place record;
    found_in text[] := '{}';
begin
    for place in select * from auth_reconciler.places(instance_id) loop
        perform auth_reconciler.ask(place.watched_id, instance_id, 'asked for a look');
        found_in := found_in || place.relation::text;
    end loop;
    if found_in = '{}' then
        return format('no watched table has an instance %s', instance_id);
    end if;
    return format(
        '%s of %s will be looked at%s', instance_id, array_to_string(found_in, ' and '),
        case when exists (select from auth_reconciler.pause as p where p.instance_id = reconcile.instance_id)
            then ', and left alone: it is paused' else '' end);
end
$body$;

comment on function auth_reconciler.reconcile(uuid) is
    'Has an instance looked at now, whatever is recorded of it.';

create or replace function auth_reconciler.reconcile_all() returns text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $body$
declare
    watched auth_reconciler.watched_table;
    rows_queued bigint;
    total bigint := 0;
begin
    -- Before a number of the log is drawn, see log_change().
    perform pg_current_xact_id();
    for watched in select * from auth_reconciler.readable_tables() loop
        execute format(
            $sql$
            insert into auth_reconciler.change (watched_id, instance_id, cause, application, role, note)
            select %1$L::integer, every.id, 'operator', current_setting('application_name'),
                auth_reconciler.operator_name(), 'asked for a look at all'
            from (
                select id from %2$s
                union
                select instance_id from auth_reconciler.instance where watched_id = %1$L::integer
            ) as every
            $sql$,
            watched.id, watched.relation);
        get diagnostics rows_queued = row_count;
        total := total + rows_queued;
    end loop;
    perform pg_notify('auth_reconciler', 'log');
    return format('%s instances will be looked at', total);
end
$body$;

comment on function auth_reconciler.reconcile_all() is
    'Has every instance of every watched table looked at now.';

create or replace function auth_reconciler.pause(instance_id uuid, reason text) returns text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $body$
declare
    place record;
    why constant text := left(coalesce(nullif(btrim(reason), ''), 'no reason given'), 200);
    found_in text[] := '{}';
begin
    for place in select * from auth_reconciler.places(instance_id) loop
        -- A record that is under way ends first; one that has read before is refused by the change below.
        perform pg_advisory_xact_lock(auth_reconciler.key_class(), auth_reconciler.key_hash(place.watched_id, instance_id));
        insert into auth_reconciler.pause as p (watched_id, instance_id, reason, paused_by, paused_at)
        values (place.watched_id, pause.instance_id, why, auth_reconciler.operator_name(), clock_timestamp())
        on conflict on constraint pause_pkey do update set reason = excluded.reason, paused_by = excluded.paused_by;
        -- guard is off it from here on, whatever snapshot it has.
        update auth_reconciler.instance as i
        set epoch = null
        where i.watched_id = place.watched_id and i.instance_id = pause.instance_id;
        perform auth_reconciler.ask(place.watched_id, instance_id, 'paused it: ' || why);
        found_in := found_in || place.relation::text;
    end loop;
    if found_in = '{}' then
        return format('no watched table has an instance %s', instance_id);
    end if;
    return format(
        '%s of %s is paused: its auth_status is left alone until select auth_reconciler.resume(''%s'')',
        instance_id, array_to_string(found_in, ' and '), instance_id);
end
$body$;

comment on function auth_reconciler.pause(uuid, text) is
    'Hands off an instance while somebody works on it: no write of auth_status, no correction, no probe, whatever happens, until resume(). Outlives restarts; ends when the row is deleted. Say why: problems shows it.';

create or replace function auth_reconciler.resume(instance_id uuid) returns text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $body$
declare
    ended record;
    age interval;
begin
    for ended in
        delete from auth_reconciler.pause as p where p.instance_id = resume.instance_id returning p.*
    loop
        perform auth_reconciler.ask(ended.watched_id, instance_id, 'resumed it');
        age := date_trunc('second', clock_timestamp() - ended.paused_at);
    end loop;
    if age is null then
        return format('%s was not paused', instance_id);
    end if;
    return format('%s is resumed after %s and will be looked at', instance_id, age);
end
$body$;

comment on function auth_reconciler.resume(uuid) is 'Ends a pause; the instance is looked at at once.';

