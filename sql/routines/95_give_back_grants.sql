-- What was granted on views and functions before they were made anew, see 05_keep_grants.sql.

do $body$
declare
    kept record;
begin
    for kept in
        select k.*, case when k.grantee = 0 then 'public' else quote_ident(r.rolname) end as whom
        from (
            select coalesce(wide.name, g.name) as name, g.part, g.grantee, g.privilege, g.is_grantable
            from jsonb_to_recordset(current_setting('auth_reconciler.kept_grants')::jsonb)
                as g (name name, part text, grantee oid, privilege text, is_grantable boolean)
            -- What came to be shown by two views: whoever read all of it goes on doing so.
            cross join lateral (
                select null::name as name
                union all
                select divided.latter
                from (
                    values
                        ('reconcilers', 'reconciler_details'), ('problems', 'problem_details'), ('drift', 'drift_details')
                ) as divided (former, latter)
                where divided.former = g.name
            ) as wide
        ) as k
        left join pg_catalog.pg_roles as r on r.oid = k.grantee
        where k.privilege <> 'routine' and to_regclass(format('auth_reconciler.%I', k.name)) is not null
            and (k.grantee = 0 or r.oid is not null)
            and (
                k.part is null
                or exists (
                    select
                    from pg_catalog.pg_attribute as a
                    where a.attrelid = to_regclass(format('auth_reconciler.%I', k.name)) and a.attname = k.part
                        and not a.attisdropped
                )
            )
    loop
        execute format(
            'grant %s%s on auth_reconciler.%I to %s%s',
            kept.privilege, case when kept.part is null then '' else format(' (%I)', kept.part) end, kept.name, kept.whom,
            case when kept.is_grantable then ' with grant option' else '' end);
    end loop;
    for kept in
        select every.part, r.rolname, k.is_grantable
        from jsonb_to_recordset(current_setting('auth_reconciler.kept_grants')::jsonb)
            as k (part text, grantee oid, privilege text, is_grantable boolean)
        cross join lateral (
            select k.part
            union all
            -- What came to be called where only the former was: whoever read or recorded goes on doing so.
            select divided.latter
            from (
                values
                    ('auth_reconciler.watched_rows()', 'auth_reconciler.odd_rows()'),
                    ('auth_reconciler.watched_rows()', 'auth_reconciler.counted_rows()'),
                    ('auth_reconciler.watched_rows()',
                        'auth_reconciler.message_of(text,timestamp with time zone[],text,text)'),
                    ('auth_reconciler.age_of(timestamp with time zone)', 'auth_reconciler.kind_of(text,text,text,text)'),
                    ('auth_reconciler.note_trouble(uuid,text,text)', 'auth_reconciler.kind_of(text,text,text,text)'),
                    ('auth_reconciler.note_trouble(uuid,text,text)', 'auth_reconciler.answer_alike(integer,bigint[])'),
                    ('auth_reconciler.note_trouble(uuid,text,text)',
                        'auth_reconciler.count_foreign_writes(auth_reconciler.foreign_write[])'),
                    ('auth_reconciler.take_over(uuid)', 'auth_reconciler.await_silent()'),
                    ('auth_reconciler.take_over(uuid)', 'auth_reconciler.bell_class()'),
                    ('auth_reconciler.take_over(uuid)', 'auth_reconciler.hold_sleeper_lock()'),
                    ('auth_reconciler.take_over(uuid)', 'auth_reconciler.reader_lock()'),
                    ('auth_reconciler.take_over(uuid)', 'auth_reconciler.sleeper_lock()'),
                    ('auth_reconciler.take_over(uuid)', 'auth_reconciler.resound()'),
                    ('auth_reconciler.take_over(uuid)', 'auth_reconciler.silence()'),
                    ('auth_reconciler.take_over(uuid)', 'auth_reconciler.silent_lock()'),
                    ('auth_reconciler.take_over(uuid)', 'auth_reconciler.silent_record_lock()'),
                    ('auth_reconciler.take_over(uuid)', 'auth_reconciler.watch_lock()')
            ) as divided (former, latter)
            where divided.former = k.part
        ) as every
        join pg_catalog.pg_roles as r on r.oid = k.grantee
        where case when k.privilege = 'routine' then to_regprocedure(every.part) is not null end
    loop
        execute format(
            'grant execute on function %s to %I%s',
            kept.part, kept.rolname, case when kept.is_grantable then ' with grant option' else '' end);
    end loop;
end
$body$;
