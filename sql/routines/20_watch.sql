-- Attaching and removing the triggers. What is done while the table is locked is done for its triggers alone: rows are
-- copied and records removed later, in pieces (26_owed.sql), for the manager waits as long as the lock is held.
--
-- The search path is pinned: these are called by the owner, in whose own path somebody else may have
-- put a function or an operator that fits better than ours.

create or replace function auth_reconciler.missing_triggers(relation regclass, assigned boolean) returns text[]
language sql
stable
set search_path = pg_catalog, pg_temp
as $body$
    -- Of a partition, the copies that the server makes: they can be disabled one by one.
    select coalesce(array_agg(
        wanted.name || case when place.level > 0 then ' on partition ' || place.relation::text else '' end
        order by place.level, place.relation::text, wanted.name), '{}')
    -- From the catalog's rows alone: pg_partition_tree() and pg_get_triggerdef() lock the tables, and would wait for
    -- whoever has one locked.
    from (
        with recursive tree (relation, level) as (
            select missing_triggers.relation::oid, 0
            union all
            select i.inhrelid, t.level + 1
            from tree as t
            join pg_catalog.pg_inherits as i on i.inhparent = t.relation
            join pg_catalog.pg_class as c on c.oid = i.inhrelid and c.relispartition
        )
        select t.relation::regclass as relation, t.level from tree as t
    ) as place
    cross join unnest(
        array['auth_reconciler_delete', 'auth_reconciler_insert', 'auth_reconciler_truncate', 'auth_reconciler_update']
        || case when assigned then array['auth_reconciler_assigned'] else '{}' end
    ) as wanted (name)
    where (place.level = 0 or wanted.name <> 'auth_reconciler_truncate')
        and not exists (
            select
            from pg_catalog.pg_trigger as t
            where t.tgrelid = place.relation and t.tgname = wanted.name and t.tgenabled in ('O', 'A')
                and t.tgfoid = 'auth_reconciler.log_change()'::regprocedure
                -- One of an earlier version let anybody write in silence.
                and coalesce(t.tgqual::text, '') not like format(
                    '%%:funcid %s %%', 'pg_catalog.current_setting(text, boolean)'::regprocedure::oid)
        )
$body$;

comment on function auth_reconciler.missing_triggers(regclass, boolean) is
    'Names of our triggers that are absent, disabled or of an earlier version, on the table or on one of its partitions.';

create or replace function auth_reconciler.watched_relative(relation regclass) returns regclass
language sql
stable
set search_path = pg_catalog, pg_temp
as $body$
    with recursive parent as (
        select i.inhparent as oid from pg_catalog.pg_inherits as i where i.inhrelid = watched_relative.relation
        union
        select i.inhparent from pg_catalog.pg_inherits as i join parent as p on i.inhrelid = p.oid
    ),
    child as (
        select i.inhrelid as oid from pg_catalog.pg_inherits as i where i.inhparent = watched_relative.relation
        union
        select i.inhrelid from pg_catalog.pg_inherits as i join child as c on i.inhparent = c.oid
    )
    select w.relation
    from auth_reconciler.watched_table as w
    where w.relation in (select parent.oid from parent union all select child.oid from child)
    limit 1
$body$;

comment on function auth_reconciler.watched_relative(regclass) is
    'A watched table of which a table is a partition or child, near or far, or the other way round; null if there is none.';

create or replace function auth_reconciler.check_watchable(relation regclass) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    kind "char";
    problems text;
    other text;
begin
    select c.relkind into kind from pg_catalog.pg_class as c where c.oid = relation;
    if kind not in ('r', 'p') then
        raise exception '% is not a table', relation
            using errcode = 'wrong_object_type',
                  hint = 'Name the table that the manager writes to.';
    end if;
    problems := auth_reconciler.wrong_columns(relation, false);
    if problems is not null then
        raise exception 'table % cannot be watched: %', relation, problems
            using errcode = 'undefined_column',
                  hint = 'Name the table in which the manager keeps its instances (AUTH_RECONCILER_TABLE).';
    end if;
    -- Its rows would be seen twice.
    other := auth_reconciler.name_of(auth_reconciler.watched_relative(relation));
    if other is not null then
        raise exception 'table % cannot be watched: % is watched already, and one is a partition or child of the other', relation, other
            using errcode = 'object_not_in_prerequisite_state',
                  hint = format('Watch the parent alone: first select auth_reconciler.unwatch(%L).', other);
    end if;
    -- What the policy hides from whoever attaches the triggers would never be looked at.
    select auth_reconciler.hidden_rows(relation, r.oid) into problems
    from pg_catalog.pg_roles as r where r.rolname = current_user;
    if problems is not null then
        raise exception 'table % cannot be watched: its rows cannot all be seen', relation
            using errcode = 'insufficient_privilege', detail = problems,
                  hint = regexp_replace(problems, '^.*?: ', '');
    end if;
    -- Rows are looked up and locked one by one; without a unique index each look would read the table.
    if not exists (
        select
        from pg_catalog.pg_index as i
        join pg_catalog.pg_attribute as a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
        where i.indrelid = relation and i.indisunique and i.indnkeyatts = 1 and i.indpred is null
            and i.indisvalid and a.attname = 'id'
    ) then
        raise exception 'table % cannot be watched: column id has no unique index', relation
            using errcode = 'object_not_in_prerequisite_state',
                  hint = 'Make id the primary key.';
    end if;
end
$body$;

comment on function auth_reconciler.check_watchable(regclass) is
    'Raises an error that names every column that a table lacks to be watched.';

create or replace function auth_reconciler.is_watched(relation regclass, assigned boolean, typed boolean)
returns boolean
language sql
set search_path = pg_catalog, pg_temp
as $body$
    select exists (
        select
        from auth_reconciler.watched_table as w
        where w.relation = is_watched.relation and w.assigned = is_watched.assigned
            and w.has_type_instance = is_watched.typed
    )
    and cardinality(auth_reconciler.missing_triggers(relation, assigned)) = 0
    and auth_reconciler.is_lean(relation) = (auth_reconciler.before_triggers(relation) is null)
$body$;

comment on function auth_reconciler.is_watched(regclass, boolean, boolean) is
    'Whether a table is watched in just this way, with all triggers attached and enabled, in the form that its other triggers allow.';

create or replace function auth_reconciler.settle_name(relation regclass) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    wanted constant text := auth_reconciler.name_of(relation);
    gone regclass;
begin
    -- It was dropped and made again: what was recorded of the old one speaks of rows that are gone.
    for gone in
        select w.relation
        from auth_reconciler.watched_table as w
        where w.name = wanted and auth_reconciler.name_of(w.relation) is null
    loop
        perform auth_reconciler.unwatch(gone);
    end loop;
    -- It has been renamed, or took the name of one that was: whoever says so now means what stands there now.
    update auth_reconciler.watched_table as w
    set name = auth_reconciler.name_of(w.relation)
    where (w.relation = settle_name.relation or w.name = wanted)
        and auth_reconciler.name_of(w.relation) is not null
        and w.name is distinct from auth_reconciler.name_of(w.relation);
end
$body$;

comment on function auth_reconciler.settle_name(regclass) is
    'Gives a name to the table that bears it now, and forgets a dropped one that bore it.';

create or replace function auth_reconciler.warn_of(relation regclass) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    reason text;
begin
    if current_setting('max_prepared_transactions')::integer > 0 then
        raise warning 'max_prepared_transactions is %: a transaction that changes % and is then prepared will fail, because NOTIFY cannot be part of PREPARE TRANSACTION',
            current_setting('max_prepared_transactions'), relation;
    end if;
    if (select c.relrowsecurity from pg_catalog.pg_class as c where c.oid = relation) then
        raise warning 'row level security of table % is on: the role of the daemon must see all rows; as a superuser: alter role … bypassrls',
            relation;
    end if;
    for reason in select r from auth_reconciler.unwritable(relation) as r loop
        raise warning 'not every status can be written to %: %', relation, reason
            using hint = 'Correct the table: what it refuses is shown in auth_reconciler.problems as Unwritable.';
    end loop;
end
$body$;

comment on function auth_reconciler.warn_of(regclass) is
    'Warns of what does not keep a table from being watched, but will make some statements fail, or hide rows.';

create or replace function auth_reconciler.watch(relation regclass, assigned boolean default false) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    typed boolean;
    known auth_reconciler.watched_table;
begin
    perform auth_reconciler.check_watchable(relation);
    typed := auth_reconciler.is_typed(relation);
    perform auth_reconciler.settle_name(relation);
    select * into known from auth_reconciler.watched_table as w where w.relation = watch.relation;
    if auth_reconciler.is_watched(relation, assigned, typed) then
        return format('%s is watched already', relation);
    end if;
    perform auth_reconciler.warn_of(relation);
    -- A trigger that is no longer wanted can only be dropped under the stronger lock. One lock, not one
    -- after the other: what is held while we wait for the second is held against the manager.
    perform auth_reconciler.lock_briefly(
        relation, case when known.assigned and not assigned then 'access exclusive' else 'share row exclusive' end);
    -- Somebody else may have done it while we waited.
    if auth_reconciler.is_watched(relation, assigned, typed) then
        return format('%s is watched already', relation);
    end if;
    if known.assigned and not assigned then
        execute format('drop trigger if exists auth_reconciler_assigned on %s', relation);
    end if;
    insert into auth_reconciler.watched_table as w (relation, has_type_instance, assigned, name)
    values (watch.relation, typed, watch.assigned, auth_reconciler.name_of(watch.relation))
    on conflict on constraint watched_table_relation_key do update
        set has_type_instance = excluded.has_type_instance, assigned = excluded.assigned, name = excluded.name
    returning * into known;

    perform auth_reconciler.attach_all(known);
    return format('%s is watched, its rows will be looked at', relation);
end
$body$;

comment on function auth_reconciler.watch(regclass, boolean) is
    'Attaches the triggers to a table of instances and has every row looked at: the daemon or the next migrate queues that, see backlog. With assigned => true a write that repeats api_key or account counts, too: the only sign of a restarted container where no Docker Engine can be reached.';

create or replace function auth_reconciler.detach(relation regclass) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    name text;
begin
    foreach name in array array['insert', 'delete', 'truncate', 'update', 'assigned'] loop
        if exists (
            select from pg_catalog.pg_trigger as t
            where t.tgrelid = relation and t.tgname = 'auth_reconciler_' || name
        ) then
            execute format('drop trigger auth_reconciler_%s on %s', name, relation);
        end if;
    end loop;
    if auth_reconciler.is_guarded(relation) then
        execute format('drop trigger zz_auth_reconciler_guard on %s', relation);
    end if;
end
$body$;

comment on function auth_reconciler.detach(regclass) is
    'Drops our triggers from a table. Call it with the table locked, or be ready to wait.';

create or replace function auth_reconciler.unwatch(relation regclass) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    removed auth_reconciler.watched_table;
    readers text;
begin
    -- A table that was dropped leaves its number behind, and is named by it.
    if exists (select from pg_catalog.pg_class as c where c.oid = relation) then
        perform auth_reconciler.lock_briefly(relation, 'access exclusive');
    end if;
    perform auth_reconciler.detach(relation);
    delete from auth_reconciler.watched_table as w where w.relation = unwatch.relation returning * into removed;
    if not found then
        return format('%s was not watched', relation);
    end if;
    -- By its number, which no table gets again: one that is watched anew has nothing in common with it.
    insert into auth_reconciler.owed (watched_id, name, work)
    values (removed.id, coalesce(removed.name, removed.relation::text), 'unwatch');
    perform pg_notify('auth_reconciler', 'scan');
    -- What was granted for our sake: to whoever may use our schema.
    select string_agg(distinct quote_ident(r.rolname), ', ') into readers
    from pg_class as c
    join pg_attribute as a on a.attrelid = c.oid and a.attname = 'api_key' and not a.attisdropped
    cross join lateral (select * from aclexplode(a.attacl) union all select * from aclexplode(c.relacl)) as acl
    join pg_roles as r on r.oid = acl.grantee
    where c.oid = relation and acl.privilege_type = 'SELECT' and acl.grantee <> c.relowner
        and has_schema_privilege(r.oid, 'auth_reconciler', 'usage');
    return format(
        '%s is no longer watched, what was recorded of its rows is removed by the daemon or the next migrate%s', relation,
        case when readers is not null then format(
            '; still granted on it, to be revoked: select on its column api_key, to %s', readers) else '' end);
end
$body$;

comment on function auth_reconciler.unwatch(regclass) is
    'Removes the triggers from a table; what was recorded of its rows is out of sight at once, and removed by the daemon or the next migrate.';
