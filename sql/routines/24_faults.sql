-- Whether the watched tables are still what they were when they were watched: from the catalog alone, so that it
-- can be asked with each echo and costs no read of a table.

comment on function auth_reconciler.altered_routines(text) is
    'What of our functions and views is missing or changed since it was noted in migration.made: SchemaAltered, in words with the remedy.';

comment on function auth_reconciler.altered_tables() is
    'What of our own tables is not as the migrations made them: SchemaAltered, in words with the remedy. Nothing is read of any table.';

comment on function auth_reconciler.missing_rights(text, text, name) is
    'Rights that a role lacks to serve a watched table, each with the statement that grants it.';

create or replace function auth_reconciler.name_of(relation oid) returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $body$
    select format('%I.%I', n.nspname, c.relname)
    from pg_class as c
    join pg_namespace as n on n.oid = c.relnamespace
    where c.oid = relation
$body$;

comment on function auth_reconciler.name_of(oid) is 'Name of a table, qualified and quoted; null if it is gone.';

create or replace function auth_reconciler.hidden_rows(relation oid, reader oid) returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $body$
    select format(
        'row level security of table %s hides rows from role %I: as a superuser: alter role %I bypassrls; or as the owner of the table: alter table %s %s',
        auth_reconciler.name_of(c.oid), r.rolname, r.rolname, auth_reconciler.name_of(c.oid),
        case when o.owns then 'no force row level security' else 'disable row level security' end)
    from pg_class as c
    join pg_roles as r on r.oid = reader
    cross join lateral (select pg_has_role(r.oid, c.relowner, 'usage') as owns) as o
    where c.oid = relation and c.relrowsecurity and not r.rolsuper and not r.rolbypassrls
        and (c.relforcerowsecurity or not o.owns)
$body$;

comment on function auth_reconciler.hidden_rows(oid, oid) is
    'Why a role may not see all rows of a table, with what mends it; null if it sees them.';

create or replace function auth_reconciler.name_faults(relation oid, watched_name text)
returns table (problem text, why text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $body$
    with found as (
        select auth_reconciler.name_of(relation) as name, c.oid, c.relkind
        -- What stands under the name now, whoever may use its schema.
        from (select parse_ident(watched_name) as parts) as wanted
        left join pg_namespace as n on n.nspname = wanted.parts[1]
        left join pg_class as c on c.relnamespace = n.oid and c.relname = wanted.parts[2]
    )
    select
        case when f.name is null and f.oid is null then 'TableDropped' else 'TableReplaced' end,
        case
            when f.name is null and f.oid is null then format(
                'table %s was dropped: make it again and run `auth-reconciler migrate`, or give it up: select auth_reconciler.unwatch(relation) from auth_reconciler.watched_table where name = %L',
                coalesce(watched_name, relation::text), watched_name)
            when f.name is null then format(
                'table %s was dropped and made again', watched_name)
            else format('the name %s belongs to another table now, the one that is watched is called %s', watched_name, f.name)
        end
        || case
            when f.oid is null then ''
            when f.relkind in ('r', 'p') then
                ': changes of the new one are not seen; run `auth-reconciler migrate`'
            else ': it is no table, and cannot be watched; name the manager''s table in AUTH_RECONCILER_TABLE and run `auth-reconciler migrate`'
        end
    from found as f
    where f.name is null or f.oid is not null and f.oid <> relation
$body$;

comment on function auth_reconciler.name_faults(oid, text) is
    'Whether a watched table is gone, or its name is another table''s now: TableDropped, TableReplaced.';

create or replace function auth_reconciler.trigger_faults(relation oid, assigned boolean, typed boolean)
returns table (problem text, why text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $body$
    select 'TriggersMissing', format(
        'triggers are missing or disabled, so changes of table %s are not seen; run `auth-reconciler migrate`: %s',
        f.name, array_to_string(m.missing, ', '))
    from (select auth_reconciler.name_of(relation) as name) as f
    cross join lateral (select auth_reconciler.missing_triggers(relation, assigned) as missing) as m
    where f.name is not null and cardinality(m.missing) > 0
        -- Dropped with a column, they can be attached only when it is there again.
        and auth_reconciler.wrong_columns(relation, typed) is null
    union all
    select 'ChangesHidden', format(
        'triggers that run before an update came to table %s after it was watched, and what they change of columns that a statement does not name is not seen; run `auth-reconciler migrate`: %s',
        f.name, b.names)
    from (select auth_reconciler.name_of(relation) as name) as f
    cross join lateral (select auth_reconciler.before_triggers(relation) as names) as b
    where f.name is not null and b.names is not null and auth_reconciler.is_lean(relation)
$body$;

comment on function auth_reconciler.trigger_faults(oid, boolean, boolean) is
    'Why changes of a table are not all seen: TriggersMissing, ChangesHidden.';

create or replace function auth_reconciler.column_faults(relation oid, typed boolean)
returns table (problem text, why text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $body$
    select 'ColumnChanged', format(
        'table %s is not served: %s; undo that (rename the column back), or give the table up: select auth_reconciler.unwatch(%L)%s',
        f.name, c.wrong, f.name,
        case when auth_reconciler.wrong_columns(relation, false) is null
            then '; to serve every row from now on, without the column: run `auth-reconciler migrate`' else '' end)
    from (select auth_reconciler.name_of(relation) as name) as f
    cross join lateral (select auth_reconciler.wrong_columns(relation, typed) as wrong) as c
    where f.name is not null and c.wrong is not null
    union all
    select 'ColumnAdded', format(
        'column type_instance of table %s came after it was watched: changes of it are not seen; run `auth-reconciler migrate`',
        f.name)
    from (select auth_reconciler.name_of(relation) as name) as f
    where f.name is not null and not typed and auth_reconciler.is_typed(relation)
$body$;

comment on function auth_reconciler.column_faults(oid, boolean) is
    'What of the columns of a table is not as it was when it was watched: ColumnChanged, ColumnAdded.';

create or replace function auth_reconciler.faults_of(
    relation oid, watched_name text, assigned boolean, typed boolean, reader oid
)
returns table (problem text, why text)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $body$
    select f.problem, f.why from auth_reconciler.name_faults(relation, watched_name) as f
    union all
    select f.problem, f.why from auth_reconciler.trigger_faults(relation, assigned, typed) as f
    union all
    select f.problem, f.why from auth_reconciler.column_faults(relation, typed) as f
    union all
    select 'RowsHidden', h.why
    from (select auth_reconciler.hidden_rows(relation, reader) as why) as h
    where h.why is not null
    union all
    select 'RightsMissing', format('role %I lacks %s; as the owner: %s', r.rolname,
        string_agg(m.privilege, ', ' order by m.privilege), string_agg(m.remedy, '; ' order by m.privilege))
    from pg_class as c
    join pg_namespace as n on n.oid = c.relnamespace
    join pg_roles as r on r.oid = reader
    cross join lateral auth_reconciler.missing_rights(n.nspname, c.relname, r.rolname) as m
    where c.oid = relation
    group by r.rolname
$body$;

comment on function auth_reconciler.faults_of(oid, text, boolean, boolean, oid) is
    'What keeps us from seeing a table as it was watched: TableDropped, TableReplaced, TriggersMissing, ChangesHidden, ColumnChanged, ColumnAdded, RowsHidden and RightsMissing (of the role that reads), each in words with what mends it.';

create or replace function auth_reconciler.table_faults(reader oid)
returns table (problem text, why text)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $body$
    select f.problem, f.why
    from auth_reconciler.watched_table as w
    cross join lateral auth_reconciler.faults_of(w.relation, w.name, w.assigned, w.has_type_instance, reader) as f
    order by w.id
$body$;

comment on function auth_reconciler.table_faults(oid) is 'Faults of all watched tables, for a role that reads them.';
