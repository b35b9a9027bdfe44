-- The triggers of a watched table, and the form that its other triggers allow. The server prepares a condition (WHEN)
-- anew in each statement, also in those that do not concern us: that is all that such a statement pays, and more than all
-- else. So a statement is told by the columns that it names (UPDATE OF), and the function compares. But a trigger of
-- somebody else that runs before the update may change columns that the statement does not name: where there is one, ours
-- have the condition. Whether there is one by now is asked with each echo.

create or replace function auth_reconciler.before_triggers(relation oid) returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $body$
    with recursive tree (relation) as (
        select before_triggers.relation
        union all
        select i.inhrelid
        from tree as t
        join pg_catalog.pg_inherits as i on i.inhparent = t.relation
        join pg_catalog.pg_class as c on c.oid = i.inhrelid and c.relispartition
    )
    select string_agg(distinct quote_ident(t.tgname), ', ')
    from tree
    join pg_catalog.pg_trigger as t on t.tgrelid = tree.relation
    -- For each row, before, update.
    where t.tgtype::integer & 19 = 19 and t.tgenabled <> 'D'
        and t.tgfoid is distinct from to_regprocedure('auth_reconciler.keep_status()')
$body$;

comment on function auth_reconciler.before_triggers(oid) is
    'Names of triggers of somebody else that may change what is written to a table, or to a partition of it, before it is written; null if there are none.';

create or replace function auth_reconciler.is_lean(relation oid) returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $body$
    select t.tgqual is null
    from pg_catalog.pg_trigger as t
    where t.tgrelid = is_lean.relation and t.tgname = 'auth_reconciler_update'
$body$;

comment on function auth_reconciler.is_lean(oid) is
    'Whether our trigger on updates goes by the columns that a statement names, rather than by a condition that the server prepares anew in each statement. Null if it is missing.';

create or replace function auth_reconciler.fact_columns(typed boolean) returns text[]
language sql
immutable
set search_path = pg_catalog, pg_temp
as $body$
    select array['id', 'api_key', 'account', 'port_api', 'provider']
        || case when typed then array['type_instance'] else '{}'::text[] end
$body$;

comment on function auth_reconciler.fact_columns(boolean) is
    'The columns that verdicts are made from. log_change() names them once more, each by itself, as it runs for each row.';

create or replace function auth_reconciler.facts_differ(typed boolean) returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $body$
    select string_agg(format('old.%1$s is distinct from new.%1$s', f.name), ' or ' order by f.place)
    from unnest(auth_reconciler.fact_columns(typed)) with ordinality as f (name, place)
$body$;

comment on function auth_reconciler.facts_differ(boolean) is
    'Text of the trigger condition that something changed of what verdicts are made from.';

create or replace function auth_reconciler.enable_in_partitions(relation regclass) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    copy record;
begin
    for copy in
        select p.relid::regclass as partition, t.tgname
        from pg_catalog.pg_partition_tree(relation) as p
        join pg_catalog.pg_trigger as t on t.tgrelid = p.relid
        where p.level > 0 and t.tgenabled not in ('O', 'A')
            and t.tgfoid in ('auth_reconciler.log_change()'::regprocedure, 'auth_reconciler.keep_status()'::regprocedure)
    loop
        execute format('alter table %s enable trigger %I', copy.partition, copy.tgname);
    end loop;
end
$body$;

comment on function auth_reconciler.enable_in_partitions(regclass) is
    'Enables what somebody has disabled of our triggers on partitions. Call it with the table locked.';

create or replace function auth_reconciler.attach(
    relation regclass, watched_id integer, assigned boolean, typed boolean
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    facts constant text := auth_reconciler.facts_differ(typed);
    lean constant boolean := auth_reconciler.before_triggers(relation) is null;
begin
    execute format(
        $sql$
        create or replace trigger auth_reconciler_insert after insert on %1$s
            for each row execute function auth_reconciler.log_change(%2$L);
        create or replace trigger auth_reconciler_delete after delete on %1$s
            for each row execute function auth_reconciler.log_change(%2$L);
        create or replace trigger auth_reconciler_truncate after truncate on %1$s
            for each statement execute function auth_reconciler.log_change(%2$L);
        $sql$,
        relation, watched_id::text);
    if lean then
        execute format(
            $sql$
            create or replace trigger auth_reconciler_update
                after update of %3$s on %1$s
                for each row execute function auth_reconciler.log_change(%2$L, %4$L);
            $sql$,
            relation, watched_id::text,
            array_to_string(auth_reconciler.fact_columns(typed) || 'auth_status'::text, ', '),
            case when typed then 'typed' else 'untyped' end);
    else
        execute format(
            $sql$
            create or replace trigger auth_reconciler_update after update on %1$s
                for each row when (%3$s or old.auth_status is distinct from new.auth_status)
                execute function auth_reconciler.log_change(%2$L);
            $sql$,
            relation, watched_id::text, facts);
    end if;
    if assigned then
        execute format(
            $sql$
            create or replace trigger auth_reconciler_assigned after update of api_key, account on %1$s
                for each row when (not (%3$s))
                execute function auth_reconciler.log_change(%2$L, 'assigned');
            alter table %1$s enable trigger auth_reconciler_assigned;
            $sql$,
            relation, watched_id::text, facts);
    end if;
    -- Somebody may have disabled them.
    execute format(
        'alter table %s enable trigger auth_reconciler_insert, enable trigger auth_reconciler_delete, '
        'enable trigger auth_reconciler_truncate, enable trigger auth_reconciler_update', relation);
end
$body$;

comment on function auth_reconciler.attach(regclass, integer, boolean, boolean) is
    'Makes and enables the triggers of a watched table. Call it with the table locked.';

create or replace function auth_reconciler.attach_all(known auth_reconciler.watched_table) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
begin
    perform auth_reconciler.attach(known.relation, known.id, known.assigned, known.has_type_instance);
    if auth_reconciler.is_guarded(known.relation) then
        perform auth_reconciler.attach_guard(known.relation, known.id, known.has_type_instance);
    end if;
    perform auth_reconciler.enable_in_partitions(known.relation);
    -- After the triggers: whatever is committed from now on is logged, and whatever was is here. To be read when this
    -- lock is gone, for the manager waits as long as it is held.
    insert into auth_reconciler.owed (watched_id, name, work) values (known.id, known.name, 'watch');
    perform pg_notify('auth_reconciler', 'scan');
end
$body$;

comment on function auth_reconciler.attach_all(auth_reconciler.watched_table) is
    'Makes all triggers of a watched table, that of a guard as well, and has every row looked at. Call it with the table locked.';

create or replace function auth_reconciler.in_another_form(relations oid[]) returns setof oid
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $body$
    select w.relation
    from unnest(relations) as w (relation)
    where auth_reconciler.is_lean(w.relation) <> (auth_reconciler.before_triggers(w.relation) is null)
$body$;

comment on function auth_reconciler.in_another_form(oid[]) is
    'Which of these tables have our trigger on updates in another form than their other triggers allow.';

create or replace function auth_reconciler.attach_anew(relation oid) returns text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $body$
declare
    known auth_reconciler.watched_table;
    others text;
begin
    if not exists (select from auth_reconciler.in_another_form(array[relation])) then
        return null;
    end if;
    -- What it cannot do now is told as a fault, where it is one.
    begin
        -- One short try: the manager queues behind a waiting lock, and there will be another echo.
        -- Of two who wait for each other, we give way first.
        perform set_config(
            'lock_timeout',
            greatest(1, least(20, 250 * extract(epoch from current_setting('deadlock_timeout')::interval)))::integer::text,
            true);
        execute format('lock table %s in share row exclusive mode', relation::regclass);
        others := auth_reconciler.before_triggers(relation);
        -- What is missing or wrong besides, an operator has to mend.
        select * into known
        from auth_reconciler.watched_table as w
        where w.relation = attach_anew.relation
            and auth_reconciler.is_lean(w.relation) <> (others is null)
            and auth_reconciler.wrong_columns(w.relation, w.has_type_instance) is null
            and cardinality(auth_reconciler.missing_triggers(w.relation, w.assigned)) = 0;
        if not found then
            return null;
        end if;
        perform auth_reconciler.attach_all(known);
    exception when lock_not_available or deadlock_detected or insufficient_privilege or undefined_table then
        return null;
    end;
    return coalesce('before an update run now ' || others, 'no other trigger runs before an update any more');
end
$body$;

comment on function auth_reconciler.attach_anew(oid) is
    'Gives the triggers of a watched table the form that its other triggers allow, if they have the other one, and has every row looked at. Returns why; null if nothing was to be done, which is found out from the catalog alone, or nothing can be done now.';
