-- What of our own tables is not as the migrations made them: no row if nothing is. From the catalog alone, and from nothing
-- that was noted in a table, for whatever hides rows would hide the note. It is also the body of the function altered_tables.
-- A test compares the lists with a schema that was just made.
with made (name, persistence, columns) as (
    values
        ('change', 'p', 'id bigint, watched_id integer, instance_id uuid, cause text, changed_at timestamp with time zone, from_status text, to_status text, application text, role text, kept boolean, note text, put_off boolean, rings boolean'),
        ('engine', 'u', 'singleton boolean, epoch uuid, address text, seen boolean, since timestamp with time zone, detail text'),
        ('foreign_write', 'p', 'watched_id integer, instance_id uuid, kind bigint, application text, role text, from_status text, to_status text, times bigint, guarded bigint, first_at timestamp with time zone, last_at timestamp with time zone'),
        ('instance', 'p', 'watched_id integer, instance_id uuid, version uuid, generation bigint, auth_status text, reason text, message text, since timestamp with time zone, settled boolean, next_attempt_at timestamp with time zone, trouble_at timestamp with time zone, cause text, reaction_ms double precision, recorded_at timestamp with time zone, looks bigint, attempts bigint, misses bigint, first_miss_at timestamp with time zone, ready_at timestamp with time zone, started_at timestamp with time zone, account_at timestamp with time zone, corrections_spent bigint, corrections_since timestamp with time zone, contested bigint, hold_until timestamp with time zone, container_engine text, container_id text, container_name text, container_network text, container_started_at timestamp with time zone, container_state text, epoch uuid, final boolean, established boolean, foreign_at timestamp with time zone[], writing text, not_ready_since timestamp with time zone'),
        ('journal', 'p', 'id bigint, watched_id integer, instance_id uuid, at timestamp with time zone, act text, cause text, times bigint, first_at timestamp with time zone, from_status text, to_status text, reason text, message text, application text, role text, looks bigint'),
        ('leadership', 'u', 'singleton boolean, epoch uuid, term bigint, pid integer, backend_start timestamp with time zone, taken_at timestamp with time zone, application text'),
        ('migration', 'p', 'version integer, name text, routines text, applied_at timestamp with time zone, made jsonb'),
        ('owed', 'p', 'id bigint, watched_id integer, name text, work text, after_id uuid, since timestamp with time zone, again boolean, told_to uuid'),
        ('own_trouble', 'u', 'problem text, epoch uuid, since timestamp with time zone, detail text'),
        ('pause', 'p', 'watched_id integer, instance_id uuid, reason text, paused_by text, paused_at timestamp with time zone'),
        ('transition', 'p', 'id bigint, watched_id integer, instance_id uuid, at timestamp with time zone, from_status text, to_status text, reason text, message text, cause text, reaction_ms double precision'),
        ('unlogged_answered', 'p', 'single boolean, counted bigint, running_until xid8'),
        ('watched_table', 'p', 'id integer, relation regclass, has_type_instance boolean, assigned boolean, watched_since timestamp with time zone, name text')
),
made_constraint (of_table, name, definition) as (
    values
        ('change', 'change_pkey', 'primary key (id)'),
        ('engine', 'engine_pkey', 'primary key (singleton)'),
        ('engine', 'engine_singleton_check', 'check (singleton)'),
        ('foreign_write', 'foreign_write_pkey', 'primary key (watched_id, instance_id, kind)'),
        ('instance', 'instance_pkey', 'primary key (watched_id, instance_id)'),
        ('journal', 'journal_act_check', 'check (act in (''change'', ''drift'', ''guarded'', ''operator'', ''verdict'', ''gone''))'),
        ('journal', 'journal_pkey', 'primary key (id)'),
        ('leadership', 'leadership_pkey', 'primary key (singleton)'),
        ('leadership', 'leadership_singleton_check', 'check (singleton)'),
        ('migration', 'migration_pkey', 'primary key (version)'),
        ('owed', 'owed_pkey', 'primary key (id)'),
        ('owed', 'owed_work_check', 'check (work in (''watch'', ''truncate'', ''unwatch'', ''resync''))'),
        ('own_trouble', 'own_trouble_pkey', 'primary key (problem)'),
        ('pause', 'pause_pkey', 'primary key (watched_id, instance_id)'),
        ('transition', 'transition_pkey', 'primary key (id)'),
        ('unlogged_answered', 'unlogged_answered_pkey', 'primary key (single)'),
        ('unlogged_answered', 'unlogged_answered_single', 'check (single)'),
        ('watched_table', 'watched_table_pkey', 'primary key (id)'),
        ('watched_table', 'watched_table_relation_key', 'unique (relation)')
),
made_index (of_table, name, definition) as (
    values
        ('change', 'change_instance_idx', 'create index change_instance_idx on auth_reconciler.change (watched_id, instance_id)'),
        ('change', 'change_unread_idx', 'create index change_unread_idx on auth_reconciler.change (watched_id, (+ id)) where not put_off and instance_id is not null'),
        ('instance', 'instance_due_idx', 'create index instance_due_idx on auth_reconciler.instance (watched_id, next_attempt_at) where not settled'),
        ('instance', 'instance_odd_idx', 'create index instance_odd_idx on auth_reconciler.instance (watched_id, instance_id) where auth_status is distinct from ''client_ready'' or contested > 0'),
        ('instance', 'instance_ready_idx', 'create index instance_ready_idx on auth_reconciler.instance (watched_id, misses) where auth_status = ''client_ready'''),
        ('journal', 'journal_at_idx', 'create index journal_at_idx on auth_reconciler.journal (at)'),
        ('journal', 'journal_instance_idx', 'create index journal_instance_idx on auth_reconciler.journal (watched_id, instance_id, id)'),
        ('owed', 'owed_resync_idx', 'create unique index owed_resync_idx on auth_reconciler.owed (watched_id) where work = ''resync'''),
        ('transition', 'transition_at_idx', 'create index transition_at_idx on auth_reconciler.transition (at)'),
        ('transition', 'transition_instance_idx', 'create index transition_instance_idx on auth_reconciler.transition (watched_id, instance_id, id)')
),
ours as (
    select n.oid, n.nspowner from pg_catalog.pg_namespace as n where n.nspname = 'auth_reconciler'
),
found as (
    select c.oid, c.relname as name, c.relpersistence as persistence, c.relrowsecurity, ours.nspowner, made.columns
    from ours
    join pg_catalog.pg_class as c on c.relnamespace = ours.oid and c.relkind = 'r'
    join made on made.name = c.relname
),
fault (what, remedy) as (
    select format('table %s (row level security hides rows)', f.name),
        format('alter table auth_reconciler.%I disable row level security, no force row level security', f.name)
    from found as f
    where f.relrowsecurity
    union all
    select format('rule %I on table %s (none of ours)', r.rulename, f.name),
        format('drop rule %I on auth_reconciler.%I', r.rulename, f.name)
    from found as f
    join pg_catalog.pg_rewrite as r on r.ev_class = f.oid
    union all
    select format('trigger %I on table %s (none of ours)', t.tgname, f.name),
        format('drop trigger %I on auth_reconciler.%I', t.tgname, f.name)
    from found as f
    -- One that comes first may change or swallow what is written.
    join pg_catalog.pg_trigger as t on t.tgrelid = f.oid and not t.tgisinternal and t.tgtype::integer & 2 > 0
    union all
    -- Without it nobody rings.
    select format('trigger %I on table %s (missing or disabled)', 'auth_reconciler_rings', f.name),
        case when t.oid is not null then 'alter table auth_reconciler.change enable trigger auth_reconciler_rings'
            else 'create constraint trigger auth_reconciler_rings after insert on auth_reconciler.change deferrable initially deferred '
                'for each row when (new.rings) execute function auth_reconciler.ring_for_change()' end
    from found as f
    left join pg_catalog.pg_trigger as t on t.tgrelid = f.oid and t.tgname = 'auth_reconciler_rings'
    where f.name = 'change' and t.tgenabled not in ('O', 'A') is not false
    union all
    select format('table %s (missing)', m.name),
        'move it back or restore it from a dump; or begin anew: `auth-reconciler uninstall`, then `auth-reconciler migrate`'
    from made as m
    -- Where there is no schema, that is said elsewhere.
    cross join ours
    where not exists (select from found as f where f.name = m.name)
    union all
    select format('sequence %s (missing)', m.name), format('create sequence auth_reconciler.%I as bigint', m.name)
    from (values ('seal'), ('unlogged')) as m (name)
    join ours on not exists (
        select from pg_catalog.pg_class as c
        where c.relnamespace = ours.oid and c.relkind = 'S' and c.relname = m.name)
    union all
    select format('table %s (%s)', f.name, case m.persistence when 'p' then 'unlogged: a crash of the server empties it'
            else 'logged: what ends with a crash of the server does not' end),
        format('alter table auth_reconciler.%I set %s', f.name, case m.persistence when 'p' then 'logged' else 'unlogged' end)
    from found as f
    join made as m on m.name = f.name and m.persistence <> f.persistence::text
    union all
    select format('column %s of table %s (missing or of another type)', c.definition, f.name),
        format('give table auth_reconciler.%I the column %s', f.name, c.definition)
    from found as f
    cross join lateral unnest(string_to_array(f.columns, ', ')) as c (definition)
    where not exists (
        select from pg_catalog.pg_attribute as a
        where a.attrelid = f.oid and a.attnum > 0 and not a.attisdropped
            and c.definition = a.attname || ' ' || pg_catalog.format_type(a.atttypid, a.atttypmod)
    )
    union all
    -- What we insert has no value for it.
    select format('column %I of table %s (none of ours)', a.attname, f.name),
        format('alter table auth_reconciler.%I drop column %I', f.name, a.attname)
    from found as f
    join pg_catalog.pg_attribute as a on a.attrelid = f.oid and a.attnum > 0 and not a.attisdropped
    where a.attnotnull and not a.atthasdef and a.attidentity = ''
        and (', ' || f.columns) not like '%, ' || a.attname || ' %'
    union all
    select format('constraint %s of table %s (missing)', m.name, f.name),
        format('alter table auth_reconciler.%I add constraint %I %s', f.name, m.name, m.definition)
    from found as f
    join made_constraint as m on m.of_table = f.name
    where not exists (select from pg_catalog.pg_constraint as c where c.conrelid = f.oid and c.conname = m.name)
    union all
    select format('constraint %I of table %s (none of ours)', c.conname, f.name),
        format('alter table auth_reconciler.%I drop constraint %I', f.name, c.conname)
    from found as f
    join pg_catalog.pg_constraint as c on c.conrelid = f.oid and c.contype in ('c', 'f', 'p', 'u', 'x')
    where not exists (select from made_constraint as m where m.of_table = f.name and m.name = c.conname)
    union all
    select format('index %s (%s)', m.name, case when i.indexrelid is null then 'missing' else 'not valid' end),
        case when i.indexrelid is null then m.definition else format('reindex index auth_reconciler.%I', m.name) end
    from made_index as m
    join found as f on f.name = m.of_table
    cross join ours
    left join (
        pg_catalog.pg_class as c join pg_catalog.pg_index as i on i.indexrelid = c.oid
    ) on c.relnamespace = ours.oid and c.relname = m.name
    where i.indexrelid is null or not i.indisvalid
    union all
    -- Our functions act with the rights of whoever owns the schema.
    select format('table %s (its owner lacks %s)', f.name, string_agg(needed.act, ', ')),
        format('grant %s on auth_reconciler.%I to %I', string_agg(needed.act, ', '), f.name, pg_get_userbyid(f.nspowner))
    from found as f
    cross join unnest(array['select', 'insert', 'update', 'delete']) as needed (act)
    where not has_table_privilege(f.nspowner, f.oid, needed.act)
    group by f.name, f.nspowner
)
select
    'SchemaAltered' as problem,
    format(
        'tables of schema auth_reconciler are not as `auth-reconciler migrate` made them, so changes may be missed and rows hidden; as their owner: %s%s',
        array_to_string((array_agg(f.what || ': ' || f.remedy order by f.what))[:10], '; '),
        case when count(*) > 10 then format('; and %s more', count(*) - 10) else '' end) as why
from fault as f
having count(*) > 0
