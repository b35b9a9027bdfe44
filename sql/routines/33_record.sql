-- The only way by which verdicts reach a watched table: a batch of them in one transaction and one round trip. Its steps, in
-- their order: the gate, the keys, the watched rows, then in new statements the fence, the write, what is noted.

create or replace function auth_reconciler.record_steps(
    p_epoch uuid, p_relation text, p_settings jsonb, inout work auth_reconciler.proposal[]
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    watched constant integer := (work[1].verdict).watched_id;
    -- What is rare is not even called.
    some_held boolean := false;
    some_first boolean := false;
    moved bigint[];
begin
    work := auth_reconciler.lock_keys(work);
    work := auth_reconciler.lock_rows(p_relation, work);
    work := auth_reconciler.fence(work);
    for place in 1 .. cardinality(work) loop
        some_held := some_held or work[place].outcome in ('change', 'held');
        some_first := some_first or (work[place].verdict).version is null;
    end loop;
    if some_held then
        perform auth_reconciler.spend_held(work);
    end if;
    if some_first then
        work := auth_reconciler.begin_instances(work);
    end if;
    work := auth_reconciler.write(watched, p_relation, work);
    work := auth_reconciler.conclude(
        p_relation, (p_settings ->> 'overridden_retry_ms')::double precision, work);
    moved := auth_reconciler.note(watched, p_epoch, work);
    if moved is not null then
        perform auth_reconciler.tell_watchers(moved);
    end if;
    perform auth_reconciler.prune_some(
        watched, work, (p_settings ->> 'history_per_instance')::integer,
        (p_settings ->> 'history_max_age_ms')::double precision * interval '1 ms');
end
$body$;

comment on function auth_reconciler.record_steps(uuid, text, jsonb, auth_reconciler.proposal[]) is
    'The steps of a batch of verdicts on rows of one table, behind the gate.';

create or replace function auth_reconciler.record_batch(
    p_epoch uuid, p_watched_id integer, p_proposals jsonb, p_settings jsonb
)
returns table (instance_id uuid, outcome text, from_status text, reaction_ms double precision, held_ms double precision)
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    began constant timestamptz := clock_timestamp();
    relation constant text := (select w.relation::text from auth_reconciler.watched_table as w where w.id = p_watched_id);
    work auth_reconciler.proposal[] := array(
        select p
        from jsonb_populate_recordset(null::auth_reconciler.proposal, p_proposals) as p
        order by (p.verdict).instance_id
    );
    of_all text;
    nothing text;
begin
    -- The record is atomic with the removal of the changes it answers for, so a server crash
    -- re-opens the work; and the row locks, which can mislead the manager, do not span an fsync.
    -- What is assigned to it is done without the executor, which `perform` calls.
    nothing := set_config('synchronous_commit', 'off', true);
    if relation is null then
        of_all := 'unwatched';
    elsif auth_reconciler.enter_gate() is distinct from p_epoch then
        -- Not the epoch in which the process led before it read.
        of_all := 'epoch';
    elsif work <> '{}' then
        work := auth_reconciler.record_steps(p_epoch, relation, p_settings, work);
    end if;
    return query
    select (p.verdict).instance_id,
        coalesce(of_all, case when p.outcome = 'held' then 'busy' else p.outcome end),
        p.from_status, p.reaction_ms,
        extract(epoch from clock_timestamp() - began)::double precision * 1000
    from unnest(work) as p;
end
$body$;

comment on function auth_reconciler.record_batch(uuid, integer, jsonb, jsonb) is
    'Records verdicts on rows of one table behind the fence and writes auth_status where it differs. Outcomes: written, right (it was so already), overridden (a trigger of the table replaced it), unwritable: and what of the table refuses it, together (nothing was done: it must be tried in a smaller batch), busy (somebody holds the row), gone, unwatched, or the part of the fence that refused: epoch, version, change.';

create or replace function auth_reconciler.forget_batch(p_epoch uuid, p_watched_id integer, p_proposals jsonb)
returns table (instance_id uuid, outcome text)
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    relation constant text := (select w.relation::text from auth_reconciler.watched_table as w where w.id = p_watched_id);
    work auth_reconciler.proposal[] := array(
        select p
        from jsonb_populate_recordset(null::auth_reconciler.proposal, p_proposals) as p
        order by (p.verdict).instance_id
    );
    present uuid[] := '{}';
    gone auth_reconciler.proposal[];
begin
    perform set_config('synchronous_commit', 'off', true);
    if auth_reconciler.enter_gate() is distinct from p_epoch then
        return query select (p.verdict).instance_id, 'epoch' from unnest(work) as p;
        return;
    end if;
    work := auth_reconciler.lock_keys(work);
    if relation is not null then
        execute format('select coalesce(array_agg(w.id), %L) from %s as w where w.id = any ($1)', '{}', relation)
            into present using array(select (p.verdict).instance_id from unnest(work) as p);
    end if;
    work := auth_reconciler.fence(work);
    for place in 1 .. cardinality(work) loop
        work[place].outcome := case
            -- It came back since it was read.
            when (work[place].verdict).instance_id = any (present) and work[place].outcome is distinct from 'busy' then 'change'
            else coalesce(work[place].outcome, 'forgotten') end;
    end loop;
    gone := array(select p from unnest(work) as p where p.outcome = 'forgotten');
    perform auth_reconciler.forget_rows(p_watched_id, gone);
    return query select (p.verdict).instance_id, p.outcome from unnest(work) as p;
end
$body$;

comment on function auth_reconciler.forget_batch(uuid, integer, jsonb) is
    'Answers for the changes of rows that are gone, behind the same fence as record_batch(). Outcomes: forgotten, busy, or the part of the fence that refused.';

create or replace function auth_reconciler.forget_rows(p_watched_id integer, p_gone auth_reconciler.proposal[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    ids constant uuid[] := array(select (p.verdict).instance_id from unnest(p_gone) as p);
    known constant uuid[] := array(
        select (p.verdict).instance_id from unnest(p_gone) as p where (p.verdict).version is not null);
    gone_id uuid;
begin
    -- One by one, see fence().
    foreach gone_id in array ids loop
        delete from auth_reconciler.instance as i where i.watched_id = p_watched_id and i.instance_id = gone_id;
        -- A row that comes back under the same id is another instance.
        delete from auth_reconciler.pause as p where p.watched_id = p_watched_id and p.instance_id = gone_id;
    end loop;
    -- One that came and went between two looks: nothing to tell, and no record follows that would prune what is told.
    delete from auth_reconciler.change as c
    where c.id in (select unnest(p.changes) from unnest(p_gone) as p where (p.verdict).version is null);
    perform auth_reconciler.answer_changes(
        p_watched_id,
        array(select unnest(p.changes) from unnest(p_gone) as p where (p.verdict).version is not null),
        false);
    insert into auth_reconciler.journal (watched_id, instance_id, at, act, cause, times, first_at)
    select p_watched_id, id, clock_timestamp(), 'gone', 'delete', 1, clock_timestamp() from unnest(known) as id;
end
$body$;

comment on function auth_reconciler.forget_rows(integer, auth_reconciler.proposal[]) is
    'Removes what was recorded of rows that are gone. Call it behind the fence.';

-- As a process of an earlier version records. Whatever it brings, its epoch has ended: it connects anew, and finds that
-- it is too old.

create or replace function auth_reconciler.record(
    p_epoch uuid,
    p_version uuid,
    p_changes bigint[],
    p_verdict jsonb,
    p_context jsonb,
    out outcome text,
    out from_status text,
    out reaction_ms double precision
)
language sql
set search_path = pg_catalog, pg_temp
as $body$
    select 'epoch', null::text, null::double precision
$body$;

comment on function auth_reconciler.record(uuid, uuid, bigint[], jsonb, jsonb) is
    'Refuses the records of processes of earlier versions. See record_batch().';

create or replace function auth_reconciler.forget(
    p_epoch uuid, p_watched_id integer, p_instance_id uuid, p_version uuid, p_changes bigint[]
) returns text
language sql
set search_path = pg_catalog, pg_temp
as $body$
    select 'epoch'
$body$;

comment on function auth_reconciler.forget(uuid, integer, uuid, uuid, bigint[]) is
    'Refuses the records of processes of earlier versions. See forget_batch().';

-- What those were made of.
drop function if exists auth_reconciler.refusal(uuid, integer, uuid, uuid, bigint[]);
drop function if exists auth_reconciler.refusal(auth_reconciler.proposal);
drop function if exists auth_reconciler.write_status(integer, text, uuid, text);
drop function if exists auth_reconciler.answer(integer, uuid, bigint[]);
drop function if exists auth_reconciler.prune(integer, uuid, integer, interval);
drop function if exists auth_reconciler.lock_key(integer, uuid);
drop function if exists auth_reconciler.answer(integer, bigint[]);
drop function if exists auth_reconciler.answer_changes(integer, bigint[]);
drop function if exists auth_reconciler.prune(integer, uuid[], integer, interval);
drop function if exists auth_reconciler.lock_differing(text, integer[], auth_reconciler.proposal[]);
drop function if exists auth_reconciler.concluded(text, uuid, double precision, auth_reconciler.proposal);
drop function if exists auth_reconciler.conclude(text, uuid, double precision, auth_reconciler.proposal[]);
drop function if exists auth_reconciler.note(integer, auth_reconciler.proposal[], integer, interval);
