-- The only way by which verdicts reach a watched table: a batch of them in one transaction and one round trip.
--
-- Everything is noted before a watched row is locked, as if each verdict were going to be written the way it looked when the
-- row was read. So rows are locked for their write alone, and not while their verdicts are noted: the manager passes over
-- locked rows, see the bound of a batch in the daemon. Who turns out otherwise has what was noted undone, and all that are
-- left are noted anew, as they will become by what is known now.

create or replace function auth_reconciler.note_as_expected(
    p_epoch uuid, p_relation text, p_settings jsonb, work auth_reconciler.proposal[]
) returns auth_reconciler.proposal[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    moved bigint[];
begin
    work := auth_reconciler.begin_instances(auth_reconciler.fence(work));
    work := auth_reconciler.conclude(p_relation, (p_settings ->> 'overridden_retry_ms')::double precision, work);
    moved := auth_reconciler.note((work[1].verdict).watched_id, p_epoch, work);
    if moved is not null then
        perform auth_reconciler.tell_watchers(moved);
    end if;
    return work;
end
$body$;

comment on function auth_reconciler.note_as_expected(uuid, text, jsonb, auth_reconciler.proposal[]) is
    'The fence, and what is noted of those who pass it, as it is expected to become of them.';

create or replace function auth_reconciler.refusal(
    p_relation text, p_tried auth_reconciler.proposal[], p_state text, p_context text, p_constraint text
) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    ids uuid[];
    statuses text[];
begin
    select array_agg((p.verdict).instance_id), array_agg((p.verdict).auth_status) into ids, statuses
    from unnest(p_tried) as p where p.writes;
    if cardinality(ids) > 1 then
        -- Whose fault it is, and what he does not get for it, is found out by himself.
        return 'together';
    end if;
    return 'unwritable: ' || auth_reconciler.why_refused(
        p_relation,
        -- This one means that it cannot even be prepared.
        case when p_state <> '428C9' then auth_reconciler.write_statement(p_relation, ids, statuses) end,
        p_state, p_context, p_constraint);
end
$body$;

comment on function auth_reconciler.refusal(text, auth_reconciler.proposal[], text, text, text) is
    'What becomes of a batch whose write has failed with this error; null where that may pass.';

create or replace function auth_reconciler.expect(
    becomes text, only_writes boolean, tried auth_reconciler.proposal[], inout work auth_reconciler.proposal[]
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
begin
    for place in 1 .. cardinality(work) loop
        if auth_reconciler.stands(tried[place].outcome) and (tried[place].writes or not only_writes) then
            work[place].outcome := becomes;
        else
            work[place].outcome := tried[place].outcome;
        end if;
    end loop;
end
$body$;

comment on function auth_reconciler.expect(text, boolean, auth_reconciler.proposal[], auth_reconciler.proposal[]) is
    'Has this become of those of a batch that stand, or of those of them that are written.';

create or replace function auth_reconciler.record_in_tries(
    p_epoch uuid, p_relation text, p_settings jsonb, inout work auth_reconciler.proposal[], out locked_at timestamptz
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    tried auth_reconciler.proposal[];
    amended auth_reconciler.proposal[];
    becomes text;
    failed text;
    failed_in text;
    failed_constraint text;
begin
    -- A try tells in one respect who is not as expected. Who is not after so many comes again with another batch.
    for try in 1 .. 5 loop
        amended := null;
        -- Undone as a whole, with its locks. And caught, or the server would log a failing row with its key.
        begin
            tried := auth_reconciler.note_as_expected(p_epoch, p_relation, p_settings, work);
            locked_at := clock_timestamp();
            amended := auth_reconciler.lock_watched(p_relation, tried, work);
            if amended is null then
                amended := auth_reconciler.fence_again(tried, work);
            end if;
            if amended is null then
                amended := auth_reconciler.write_rows(p_relation, tried, work);
            end if;
            if amended is null then
                work := tried;
                return;
            end if;
            raise sqlstate 'AR003';
        exception
            -- OTHERS has neither of the first two, and a trigger may end with either.
            when query_canceled or assert_failure or others then
                if amended is not null then
                    work := amended;
                    continue;
                end if;
                get stacked diagnostics failed = returned_sqlstate, failed_in = pg_exception_context,
                    failed_constraint = constraint_name;
                -- Anything else is ours.
                if failed_in !~ '(^|[^a-z0-9_."])auth_reconciler\.write_(statement|statuses)\(' then raise; end if;
                becomes := auth_reconciler.refusal(p_relation, tried, failed, failed_in, failed_constraint);
                if becomes is null then raise; end if;
                work := auth_reconciler.expect(becomes, becomes <> 'together', tried, work);
                if becomes = 'together' then return; end if;
        end;
    end loop;
    work := auth_reconciler.expect('held', false, tried, work);
end
$body$;

comment on function auth_reconciler.record_in_tries(uuid, text, jsonb, auth_reconciler.proposal[]) is
    'The steps of a batch of verdicts on rows of one table, behind the gate and with their keys locked. Returns from when watched rows were locked.';

create or replace function auth_reconciler.record_batch(
    p_epoch uuid, p_watched_id integer, p_proposals jsonb, p_settings jsonb
)
returns table (instance_id uuid, outcome text, from_status text, reaction_ms double precision, held_ms double precision)
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
    of_all text;
    done record;
    locked_at timestamptz;
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
        work := auth_reconciler.lock_keys(work);
        done := auth_reconciler.record_in_tries(p_epoch, relation, p_settings, work);
        work := done.work;
        locked_at := done.locked_at;
        nothing := auth_reconciler.spend_held(work);
        perform auth_reconciler.prune_some(
            p_watched_id, work, (p_settings ->> 'history_per_instance')::integer,
            (p_settings ->> 'history_max_age_ms')::double precision * interval '1 ms');
    end if;
    return query
    select (p.verdict).instance_id,
        coalesce(of_all, case when p.outcome = 'held' then 'busy' else p.outcome end),
        p.from_status, p.reaction_ms,
        coalesce(extract(epoch from clock_timestamp() - locked_at)::double precision * 1000, 0)
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
            when auth_reconciler.stands(work[place].outcome) then 'forgotten'
            else work[place].outcome end;
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
drop function if exists auth_reconciler.record_steps(uuid, text, jsonb, auth_reconciler.proposal[]);
drop function if exists auth_reconciler.lock_rows(text, auth_reconciler.proposal[]);
drop function if exists auth_reconciler.lock_differing(text, integer[], uuid[], text[], auth_reconciler.proposal[]);
drop function if exists auth_reconciler.look_at_others(text, integer[], integer[], auth_reconciler.proposal[]);
drop function if exists auth_reconciler.write(integer, text, auth_reconciler.proposal[]);
drop function if exists auth_reconciler.write_statuses(text, uuid[], text[]);
