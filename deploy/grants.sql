-- Roles with least rights: auth_reconciler, as which the daemon runs (its members may also call the actions
-- reconcile, reconcile_all, pause and resume), and auth_reconciler_reader, which may ask questions.
--
--     psql "$DATABASE_URL" -f deploy/grants.sql                                      # public.message_instances
--     psql "$DATABASE_URL" -f deploy/grants.sql -v table=public.telegram_instances   # one table more
--
-- Run it as the owner of the schema and of the table, after `auth-reconciler migrate`, and again after an upgrade.
-- It may be repeated. Then give the daemon a password (\password auth_reconciler), and people a role:
-- grant auth_reconciler_reader to alice. The right to connect is everybody's unless you took it away. What watch, unwatch, guard and migrate do needs the table's owner.

\set ON_ERROR_STOP on
\if :{?table}
\else
    \set table public.message_instances
\endif

begin;
set local search_path = pg_catalog, pg_temp;

do $body$
begin
    if not exists (select from pg_roles where rolname = 'auth_reconciler') then
        create role auth_reconciler login;
    end if;
    if not exists (select from pg_roles where rolname = 'auth_reconciler_reader') then
        create role auth_reconciler_reader;
    end if;
end
$body$;

-- From nothing, so that what an earlier version needed does not stay.
revoke all on schema auth_reconciler from auth_reconciler, auth_reconciler_reader;
revoke all on all tables in schema auth_reconciler from auth_reconciler, auth_reconciler_reader;
revoke all on all sequences in schema auth_reconciler from auth_reconciler, auth_reconciler_reader;
revoke all on all functions in schema auth_reconciler from auth_reconciler, auth_reconciler_reader;
revoke all on :table from auth_reconciler, auth_reconciler_reader;

select n.nspname as table_schema,
    exists (
        select from pg_attribute as a where a.attrelid = c.oid and a.attname = 'type_instance' and not a.attisdropped
    ) as typed
from pg_class as c
join pg_namespace as n on n.oid = c.relnamespace
where c.oid = :'table'::regclass
\gset

grant usage on schema auth_reconciler to auth_reconciler, auth_reconciler_reader;

-- The watched table: what a decision is made from, and the only two columns that are ever written.
grant usage on schema :"table_schema" to auth_reconciler;
grant select (id, provider, port_api, api_key, auth_status), update (auth_status, updated_at) on :table to auth_reconciler;
\if :typed
grant select (type_instance) on :table to auth_reconciler;
\endif

grant select on auth_reconciler.migration, auth_reconciler.watched_table to auth_reconciler;
grant select, insert, delete on auth_reconciler.change, auth_reconciler.transition, auth_reconciler.journal
    to auth_reconciler;
-- Of a table that is no longer watched, what was counted is removed.
grant select, delete on auth_reconciler.foreign_write to auth_reconciler;
-- How far the log has come.
grant select on sequence auth_reconciler.change_id_seq to auth_reconciler;
grant select, insert, update, delete on auth_reconciler.instance to auth_reconciler;
grant select, delete on auth_reconciler.pause to auth_reconciler;
grant select, insert, update, delete on auth_reconciler.owed to auth_reconciler;
grant select, insert, update on auth_reconciler.leadership, auth_reconciler.engine to auth_reconciler;
-- For the commands status and doctor.
grant select on auth_reconciler.instances, auth_reconciler.reconciler_details to auth_reconciler;
grant execute on function
    auth_reconciler.act_of(text, boolean),
    auth_reconciler.answer_alike(integer, bigint[]),
    auth_reconciler.answer_changes(integer, bigint[], boolean),
    auth_reconciler.answered_unlogged(uuid, bigint, text),
    auth_reconciler.attach_anew(oid),
    auth_reconciler.await_silent(),
    auth_reconciler.begin_instances(auth_reconciler.proposal[]),
    auth_reconciler.bell_class(),
    auth_reconciler.conclude(text, double precision, auth_reconciler.proposal[]),
    auth_reconciler.count_foreign_writes(auth_reconciler.foreign_write[]),
    auth_reconciler.enter_gate(),
    auth_reconciler.epoch_lock(uuid),
    auth_reconciler.escaped(text),
    auth_reconciler.expand_truncations(),
    auth_reconciler.faults(),
    auth_reconciler.faults_of(oid, text, boolean, boolean, oid),
    auth_reconciler.fence(auth_reconciler.proposal[]),
    auth_reconciler.stands(text),
    auth_reconciler.foreign_locks(),
    auth_reconciler.forget_batch(uuid, integer, jsonb),
    auth_reconciler.forget_rows(integer, auth_reconciler.proposal[]),
    auth_reconciler.hold_sleeper_lock(),
    auth_reconciler.in_another_form(oid[]),
    auth_reconciler.is_typed(oid),
    auth_reconciler.key_class(),
    auth_reconciler.key_hash(integer, uuid),
    auth_reconciler.kind_of(text, text, text, text),
    auth_reconciler.leadership_lock(),
    auth_reconciler.legible(text),
    auth_reconciler.message_of(text, timestamptz[], text, text),
    auth_reconciler.lock_differing(text, integer[], uuid[], text[], auth_reconciler.proposal[]),
    auth_reconciler.lock_keys(auth_reconciler.proposal[]),
    auth_reconciler.lock_rows(text, auth_reconciler.proposal[]),
    auth_reconciler.log_rows(auth_reconciler.owed, uuid[], uuid),
    auth_reconciler.look_at_others(text, integer[], integer[], auth_reconciler.proposal[]),
    auth_reconciler.missing_triggers(regclass, boolean),
    auth_reconciler.next_rows(auth_reconciler.owed, integer),
    auth_reconciler.not_as_decided(text, double precision, auth_reconciler.proposal),
    auth_reconciler.note(integer, uuid, auth_reconciler.proposal[]),
    auth_reconciler.note_engine(uuid, text, boolean, text),
    auth_reconciler.note_trouble(uuid, text, text),
    auth_reconciler.prepared(text, text, text),
    auth_reconciler.processes(),
    auth_reconciler.prune(integer, uuid[], integer, interval, integer),
    auth_reconciler.prune_some(integer, auth_reconciler.proposal[], integer, interval),
    auth_reconciler.put_off(uuid, bigint[]),
    auth_reconciler.reader_lock(),
    auth_reconciler.record_batch(uuid, integer, jsonb, jsonb),
    auth_reconciler.record_steps(uuid, text, jsonb, auth_reconciler.proposal[]),
    auth_reconciler.remove_records(integer, integer),
    auth_reconciler.resound(),
    auth_reconciler.silence(),
    auth_reconciler.silent_lock(),
    auth_reconciler.silent_record_lock(),
    auth_reconciler.sleeper_lock(),
    auth_reconciler.spend(auth_reconciler.instance, bigint[]),
    auth_reconciler.spend_held(auth_reconciler.proposal[]),
    auth_reconciler.table_faults(oid),
    auth_reconciler.take_over(uuid),
    auth_reconciler.tell_watchers(bigint[]),
    auth_reconciler.unlogged_state(),
    auth_reconciler.unwritable(regclass),
    auth_reconciler.watch_lock(),
    auth_reconciler.watched_rows(),
    auth_reconciler.why_refused(text, text, text, text, text),
    auth_reconciler.work_off(bigint, integer, uuid),
    auth_reconciler.write(integer, text, auth_reconciler.proposal[]),
    auth_reconciler.write_statuses(text, uuid[], text[]),
    auth_reconciler.wrong_columns(oid, boolean)
    to auth_reconciler;

-- Actions, for people who are members.
grant execute on function
    auth_reconciler.pause(uuid, text),
    auth_reconciler.reconcile(uuid),
    auth_reconciler.reconcile_all(),
    auth_reconciler.resume(uuid)
    to auth_reconciler;

-- Questions. The functions are those that the views are made of, and the one that the command watch begins with; none of
-- them changes anything.
grant select on
    auth_reconciler.backlog, auth_reconciler.days, auth_reconciler.drift, auth_reconciler.drift_details,
    auth_reconciler.drift_total, auth_reconciler.help, auth_reconciler.history, auth_reconciler.instances,
    auth_reconciler.last_day, auth_reconciler.latency, auth_reconciler.overview, auth_reconciler.problem_details,
    auth_reconciler.problems, auth_reconciler.reconciler_details, auth_reconciler.reconcilers, auth_reconciler.status,
    auth_reconciler.tables, auth_reconciler.totals, auth_reconciler.transitions
    to auth_reconciler_reader;
grant execute on function
    auth_reconciler.age_of(timestamptz),
    auth_reconciler.begin_watching(),
    auth_reconciler.counted_rows(),
    auth_reconciler.escaped(text),
    auth_reconciler.explain(uuid),
    auth_reconciler.faults(),
    auth_reconciler.fold(text, integer),
    auth_reconciler.kind_of(text, text, text, text),
    auth_reconciler.leadership_lock(),
    auth_reconciler.legible(text),
    auth_reconciler.message_of(text, timestamptz[], text, text),
    auth_reconciler.next_words(boolean, boolean, boolean, boolean, timestamptz),
    auth_reconciler.nobody_leads(),
    auth_reconciler.odd_rows(),
    auth_reconciler.own_troubles(),
    auth_reconciler.processes(),
    auth_reconciler.watched_rows()
    to auth_reconciler_reader;

commit;
