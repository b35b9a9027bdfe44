-- Rights that the daemon's role ($3, or whoever asks) lacks, each with the statement that grants it; deploy/grants.sql grants all.
-- From the catalog alone, so that it can be asked by a role that may not even use our schema. It is also the body of
-- the function missing_rights.
with reader as (
    select r.oid, r.rolname as name from pg_catalog.pg_roles as r where r.rolname = coalesce($3::name, current_user)
),
ours as (
    select n.oid, has_schema_privilege(reader.oid, n.oid, 'usage') as usable
    from pg_catalog.pg_namespace as n
    cross join reader
    where n.nspname = 'auth_reconciler'
),
wanted (privilege, remedy, held) as (
    select 'usage on schema auth_reconciler',
        format('grant usage on schema auth_reconciler to %I', reader.name),
        ours.usable
    from ours
    cross join reader
    union all
    select format('usage on schema %I', n.nspname),
        format('grant usage on schema %I to %I', n.nspname, reader.name),
        has_schema_privilege(reader.oid, n.oid, 'usage')
    from pg_catalog.pg_namespace as n
    cross join reader
    where n.nspname = $1::text
    union all
    select format('%s on column %s of %I.%I', needed.act, needed.name, n.nspname, c.relname),
        format('grant %s (%s) on %I.%I to %I', needed.act, needed.name, n.nspname, c.relname, reader.name),
        has_column_privilege(reader.oid, c.oid, a.attnum, needed.act)
    from pg_catalog.pg_class as c
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    cross join reader
    cross join (
        values ('select', 'id'), ('select', 'provider'), ('select', 'port_api'), ('select', 'api_key'),
            ('select', 'auth_status'), ('update', 'auth_status'), ('update', 'updated_at'), ('select', 'type_instance')
    ) as needed (act, name)
    join pg_catalog.pg_attribute as a on a.attrelid = c.oid and a.attname = needed.name and not a.attisdropped
    where n.nspname = $1::text and c.relname = $2::text
    union all
    select format('%s on table auth_reconciler.%s', needed.act, needed.name),
        format('grant %s on auth_reconciler.%s to %I', needed.act, needed.name, reader.name),
        has_table_privilege(reader.oid, c.oid, needed.act)
    from ours
    cross join reader
    join pg_catalog.pg_class as c on c.relnamespace = ours.oid
    join (
        values ('select', 'migration'), ('select', 'watched_table'),
            ('select', 'change'), ('insert', 'change'), ('delete', 'change'),
            ('select', 'instance'), ('insert', 'instance'), ('update', 'instance'), ('delete', 'instance'),
            ('select', 'transition'), ('insert', 'transition'), ('delete', 'transition'),
            ('select', 'journal'), ('insert', 'journal'), ('delete', 'journal'),
            ('select', 'foreign_write'), ('delete', 'foreign_write'),
            ('select', 'pause'), ('delete', 'pause'),
            ('select', 'owed'), ('insert', 'owed'), ('update', 'owed'), ('delete', 'owed'),
            ('select', 'leadership'), ('insert', 'leadership'), ('update', 'leadership'),
            ('select', 'engine'), ('insert', 'engine'), ('update', 'engine'),
            -- For doctor and status, which read as this role, too.
            ('select', 'reconciler_details'), ('select', 'instances')
    ) as needed (act, name) on needed.name = c.relname
    union all
    select format('select on sequence auth_reconciler.%s', c.relname),
        format('grant select on sequence auth_reconciler.%s to %I', c.relname, reader.name),
        has_sequence_privilege(reader.oid, c.oid, 'select')
    from ours
    cross join reader
    join pg_catalog.pg_class as c on c.relnamespace = ours.oid and c.relname = 'change_id_seq' and c.relkind = 'S'
    union all
    select format('execute on function %s', p.oid::regprocedure),
        format('grant execute on function %s to %I', p.oid::regprocedure, reader.name),
        has_function_privilege(reader.oid, p.oid, 'execute')
    from ours
    cross join reader
    join pg_catalog.pg_proc as p on p.pronamespace = ours.oid
    where p.proname in (
        'record_batch', 'record_steps', 'forget_batch', 'forget_rows', 'enter_gate', 'lock_keys', 'lock_differing', 'lock_rows', 'prepared',
        'look_at_others', 'fence', 'spend', 'spend_held', 'begin_instances', 'write', 'why_refused', 'write_statuses', 'stands',
        'conclude', 'not_as_decided', 'note', 'key_class', 'key_hash', 'answer_changes', 'answer_alike',
        'count_foreign_writes', 'kind_of', 'message_of', 'prune', 'prune_some', 'put_off', 'take_over',
        'leadership_lock', 'epoch_lock', 'note_engine', 'note_trouble', 'expand_truncations', 'missing_triggers', 'watched_rows',
        'act_of', 'is_typed', 'legible', 'escaped', 'faults_of', 'table_faults', 'faults',
        'processes', 'tell_watchers', 'unwritable', 'foreign_locks', 'unlogged_state', 'answered_unlogged',
        'work_off', 'next_rows', 'log_rows', 'remove_records', 'wrong_columns', 'in_another_form', 'attach_anew',
        'bell_class', 'watch_lock', 'silent_record_lock', 'reader_lock', 'silent_lock', 'sleeper_lock', 'hold_sleeper_lock', 'silence',
        'resound', 'await_silent')
)
select privilege, remedy from wanted where not held
