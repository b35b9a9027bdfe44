-- The only way by which a verdict reaches a watched table. Several statements in one READ COMMITTED
-- transaction, one round trip: each statement sees what was committed before it, which a single
-- statement with CTEs does not.

create or replace function auth_reconciler.key_class() returns integer
language sql
immutable
return 1635087464;

comment on function auth_reconciler.key_class() is
    'First number of the advisory locks on keys; keeps ours apart from everybody else''s. The next number is the first one of those on no key: its second one is 0 for whoever prunes history, 1 for those who watch, 2 for records that ring for nobody.';

create or replace function auth_reconciler.key_hash(watched_id integer, instance_id uuid) returns integer
language sql
immutable
-- Two instances with one hash wait for each other for a moment, nothing more.
return hashtext(watched_id || '/' || instance_id);

comment on function auth_reconciler.key_hash(integer, uuid) is 'Second number of the advisory lock on a key.';

create or replace function auth_reconciler.lock_key(watched_id integer, instance_id uuid) returns boolean
language sql
set search_path = pg_catalog, pg_temp
as $body$
    select pg_catalog.pg_try_advisory_xact_lock(
        auth_reconciler.key_class(), auth_reconciler.key_hash(watched_id, instance_id))
$body$;

comment on function auth_reconciler.lock_key(integer, uuid) is
    'One record of an instance at a time, also when there is no row of ours yet that could be locked. Never waits: false means busy.';

create or replace function auth_reconciler.refusal(
    epoch uuid, watched_id integer, instance_id uuid, version uuid, changes bigint[]
) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    current_epoch uuid;
    recorded uuid;
begin
    -- (a) The epoch in which the process led before it read; none stands after a crash of the server
    -- until somebody leads again. FOR SHARE makes a take-over wait until this
    -- transaction has ended, so nothing of an old epoch is committed after it.
    select l.epoch into current_epoch from auth_reconciler.leadership as l for share;
    if current_epoch is distinct from refusal.epoch then
        return 'epoch';
    end if;
    -- (b) Our own row is still the one that was read.
    select i.version into recorded
    from auth_reconciler.instance as i
    where i.watched_id = refusal.watched_id and i.instance_id = refusal.instance_id
    for update;
    if recorded is distinct from refusal.version then
        return 'version';
    end if;
    -- (c) Nothing happened to this instance beside what was read.
    if exists (
        select
        from auth_reconciler.change as c
        where c.watched_id = refusal.watched_id and c.instance_id = refusal.instance_id
            -- Hashed, whatever the plan: a row may have collected tens of thousands of changes.
            and c.id not in (select unnest(refusal.changes))
            -- A write that guard put aside changed nothing, and somebody may write faster than we look.
            and c.kept is not true
    ) then
        return 'change';
    end if;
    return null;
end
$body$;

comment on function auth_reconciler.refusal(uuid, integer, uuid, uuid, bigint[]) is
    'The fence: null when a verdict may be recorded, else which of its three parts refuses it: epoch, version or change.';

create or replace function auth_reconciler.spend(
    verdict auth_reconciler.instance, changes bigint[]
) returns void
language sql
set search_path = pg_catalog, pg_temp
as $body$
    update auth_reconciler.instance as i
    set version = gen_random_uuid(),
        generation = counted.last,
        corrections_spent = (spend.verdict).corrections_spent,
        corrections_since = (spend.verdict).corrections_since,
        contested = (spend.verdict).contested,
        hold_until = (spend.verdict).hold_until,
        trouble_at = case when (spend.verdict).contested > 0
            then least(i.trouble_at, clock_timestamp()) else i.trouble_at end,
        next_attempt_at = case when (spend.verdict).contested > 0
            then (spend.verdict).hold_until else i.next_attempt_at end
    from (
        select max(c.id) as last
        from auth_reconciler.change as c
        where c.id = any (spend.changes) and c.cause = 'drift'
    ) as counted
    where i.watched_id = (spend.verdict).watched_id and i.instance_id = (spend.verdict).instance_id
        -- Once for each: a row that is merely held for long is no fight.
        and counted.last > i.generation
$body$;

comment on function auth_reconciler.spend(auth_reconciler.instance, bigint[]) is
    'Counts a look at a foreign write though its verdict was not recorded: else a writer that is faster than our looks would never be contested. Call it behind the fence.';

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
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
#variable_conflict use_column
declare
    verdict auth_reconciler.instance := jsonb_populate_record(null::auth_reconciler.instance, p_verdict);
    woken_ms constant double precision := (p_context ->> 'woken_ms')::double precision;
    retry_ms double precision := (p_context ->> 'retry_ms')::double precision;
    trouble_ms double precision := (p_context ->> 'trouble_ms')::double precision;
    overridden_retry_ms constant double precision := (p_context ->> 'overridden_retry_ms')::double precision;
    unwritable_retry_ms constant double precision := (p_context ->> 'unwritable_retry_ms')::double precision;
    relation text;
    present boolean;
    current_status text;
    written text;
    refusal text;
    wrote boolean := false;
    overridden boolean := false;
    moved boolean;
    answered boolean;
    told boolean := false;
    known auth_reconciler.instance;
    transition_id bigint;
    noticed_at timestamptz;
    this_moment timestamptz;
begin
    -- The record is atomic with the removal of the changes it answers for, so a server crash
    -- re-opens the work; and the row lock, which can mislead the manager, does not span an fsync.
    perform set_config('synchronous_commit', 'off', true);

    select w.relation::text into relation from auth_reconciler.watched_table as w where w.id = verdict.watched_id;
    if relation is null then
        outcome := 'unwatched';
        return;
    end if;
    if not auth_reconciler.lock_key(verdict.watched_id, verdict.instance_id) then
        outcome := 'busy';
        return;
    end if;
    execute format('select true, auth_status::text from %s where id = $1', relation)
        into present, current_status using verdict.instance_id;
    if present is null then
        outcome := 'gone';
        return;
    end if;

    -- 1. Lock the watched row, only if it will be written, and never wait for it. Whether it will be
    -- is decided here and not again: a change after the fence must not be overwritten.
    if verdict.auth_status is not null and current_status is distinct from verdict.auth_status then
        present := null;
        execute format('select true, auth_status::text from %s where id = $1 for no key update skip locked', relation)
            into present, current_status using verdict.instance_id;
        if present is null then
            execute format('select true from %s where id = $1', relation) into present using verdict.instance_id;
            outcome := case when present then 'busy' else 'gone' end;
            if outcome = 'busy' and coalesce(auth_reconciler.refusal(
                p_epoch, verdict.watched_id, verdict.instance_id, p_version, p_changes), 'change') = 'change'
            then
                perform auth_reconciler.spend(verdict, p_changes);
            end if;
            return;
        end if;
    end if;

    -- 2. The fence.
    outcome := auth_reconciler.refusal(p_epoch, verdict.watched_id, verdict.instance_id, p_version, p_changes);
    if outcome is not null then
        if outcome = 'change' then
            perform auth_reconciler.spend(verdict, p_changes);
        end if;
        return;
    end if;

    select * into known
    from auth_reconciler.instance as i
    where i.watched_id = verdict.watched_id and i.instance_id = verdict.instance_id;
    this_moment := clock_timestamp();
    if known.version is null then
        -- The first record of this instance. Of two at once, one inserts; the other is refused here,
        -- before it has written anything.
        verdict.version := gen_random_uuid();
        verdict.generation := 0;
        verdict.since := this_moment;
        verdict.settled := false;
        verdict.reaction_ms := 0;
        verdict.recorded_at := this_moment;
        verdict.looks := 0;
        verdict.final := coalesce(verdict.final, false);
        insert into auth_reconciler.instance select verdict.*
        on conflict on constraint instance_pkey do nothing;
        if not found then
            outcome := 'version';
            return;
        end if;
    end if;

    -- 3. Write the column if it differs.
    from_status := current_status;
    if verdict.auth_status is not null and current_status is distinct from verdict.auth_status then
        select w.written, w.refusal into written, refusal
        from auth_reconciler.write_status(
            verdict.watched_id, relation, verdict.instance_id, verdict.auth_status) as w;
        -- A BEFORE trigger of somebody else may have replaced the value, or stopped the write.
        overridden := refusal is null and written is distinct from verdict.auth_status;
        wrote := refusal is null and not overridden;
    end if;

    -- 4. Note what was found, and delete exactly the changes that were read.
    this_moment := clock_timestamp();
    select min(c.changed_at) into noticed_at from auth_reconciler.change as c where c.id = any (p_changes);
    reaction_ms := coalesce(extract(epoch from this_moment - noticed_at)::double precision * 1000, woken_ms);
    if refusal is not null then
        verdict.reason := 'Unwritable';
        verdict.message := format(
            'auth_status of table %s cannot be set to %s: %s; correct the table or unwatch it',
            relation, verdict.auth_status, refusal);
        retry_ms := unwritable_retry_ms;
        trouble_ms := 0;
    end if;
    if known.auth_status is not distinct from verdict.auth_status and known.reason = verdict.reason then
        verdict.since := known.since;
    else
        verdict.since := this_moment;
    end if;
    if overridden then
        verdict.message := format(
            'the verdict is %s, but a trigger of table %s made it %s; remove that trigger or unwatch the table',
            verdict.auth_status, relation, coalesce(written, 'stay ' || coalesce(current_status, 'null')));
        verdict.contested := greatest(verdict.contested, 1);
        retry_ms := least(retry_ms, overridden_retry_ms);
        trouble_ms := 0;
    end if;
    update auth_reconciler.instance as i
    set version = gen_random_uuid(),
        generation = greatest(known.generation, (select max(change_id) from unnest(p_changes) as change_id), 0),
        auth_status = verdict.auth_status,
        reason = verdict.reason,
        message = verdict.message,
        since = verdict.since,
        settled = retry_ms is null,
        next_attempt_at = this_moment + retry_ms * interval '1 ms',
        trouble_at = verdict.since + trouble_ms * interval '1 ms',
        cause = verdict.cause,
        reaction_ms = record.reaction_ms,
        recorded_at = this_moment,
        looks = coalesce(known.looks, 0) + 1,
        epoch = p_epoch,
        final = coalesce(verdict.final, false) and not overridden and refusal is null,
        writing = null,
        attempts = verdict.attempts,
        misses = verdict.misses,
        first_miss_at = verdict.first_miss_at,
        established = verdict.established,
        ready_at = verdict.ready_at,
        started_at = verdict.started_at,
        account_at = verdict.account_at,
        corrections_spent = verdict.corrections_spent,
        corrections_since = verdict.corrections_since,
        contested = verdict.contested,
        hold_until = verdict.hold_until,
        foreign_at = verdict.foreign_at,
        container_engine = verdict.container_engine,
        container_id = verdict.container_id,
        container_name = verdict.container_name,
        container_state = verdict.container_state,
        container_started_at = verdict.container_started_at,
        container_network = verdict.container_network
    where i.watched_id = verdict.watched_id and i.instance_id = verdict.instance_id;

    if not wrote then
        -- Somebody else wrote the right value before us; what moved is our verdict.
        from_status := known.auth_status;
    end if;
    -- Hands off moves nothing.
    moved := not overridden and refusal is null and verdict.auth_status is not null
        and from_status is distinct from verdict.auth_status and (wrote or known.auth_status is not null);
    answered := auth_reconciler.answer(verdict.watched_id, verdict.instance_id, p_changes);
    if moved then
        insert into auth_reconciler.transition
            (watched_id, instance_id, at, from_status, to_status, reason, message, cause, reaction_ms)
        values (
            verdict.watched_id, verdict.instance_id, this_moment, record.from_status, verdict.auth_status,
            verdict.reason, verdict.message, verdict.cause, record.reaction_ms)
        returning id into transition_id;
        perform auth_reconciler.tell_watchers(transition_id);
    elsif answered or overridden or known.reason is distinct from verdict.reason
        or known.auth_status is distinct from verdict.auth_status
    then
        -- A look by the clock that found the same once more is told by the number of looks alone.
        insert into auth_reconciler.journal
            (watched_id, instance_id, at, act, cause, times, first_at, from_status, to_status, reason, message, looks)
        values (
            verdict.watched_id, verdict.instance_id, this_moment, 'verdict', verdict.cause, 1, this_moment,
            known.auth_status, verdict.auth_status, verdict.reason, verdict.message, coalesce(known.looks, 0) + 1);
        told := true;
    end if;
    if moved or told or answered then
        perform auth_reconciler.prune(
            verdict.watched_id, verdict.instance_id,
            (p_context ->> 'history_per_instance')::integer,
            (p_context ->> 'history_max_age_ms')::double precision * interval '1 ms');
    end if;
    outcome := case when refusal is not null then 'unwritable: ' || refusal
        when overridden then 'overridden' when wrote then 'written' else 'right' end;
end
$body$;

comment on function auth_reconciler.record(uuid, uuid, bigint[], jsonb, jsonb) is
    'Records one verdict behind the fence and writes auth_status if it differs. Outcome: written, right (it was so already), overridden (a trigger of the table replaced it), unwritable: and what of the table refuses it, busy (somebody holds the row), gone, unwatched, or the part of the fence that refused: epoch, version, change.';

create or replace function auth_reconciler.forget(
    p_epoch uuid, p_watched_id integer, p_instance_id uuid, p_version uuid, p_changes bigint[]
) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    refused text;
    relation text;
    present boolean := false;
begin
    perform set_config('synchronous_commit', 'off', true);
    if not auth_reconciler.lock_key(p_watched_id, p_instance_id) then
        return 'busy';
    end if;
    select w.relation::text into relation from auth_reconciler.watched_table as w where w.id = p_watched_id;
    if relation is not null then
        execute format('select exists (select from %s where id = $1)', relation) into present using p_instance_id;
    end if;
    if present then
        -- It came back since it was read.
        return 'change';
    end if;
    refused := auth_reconciler.refusal(p_epoch, p_watched_id, p_instance_id, p_version, p_changes);
    if refused is not null then
        return refused;
    end if;
    delete from auth_reconciler.instance as i
    where i.watched_id = p_watched_id and i.instance_id = p_instance_id;
    -- A row that comes back under the same id is another instance.
    delete from auth_reconciler.pause as p
    where p.watched_id = p_watched_id and p.instance_id = p_instance_id;
    if p_version is null then
        -- It came and went between two looks: nothing to tell, and no record follows that would prune what is told.
        delete from auth_reconciler.change as c where c.id = any (p_changes);
        return 'forgotten';
    end if;
    perform auth_reconciler.answer(p_watched_id, p_instance_id, p_changes);
    insert into auth_reconciler.journal (watched_id, instance_id, at, act, cause, times, first_at)
    values (p_watched_id, p_instance_id, clock_timestamp(), 'gone', 'delete', 1, clock_timestamp());
    return 'forgotten';
end
$body$;

comment on function auth_reconciler.forget(uuid, integer, uuid, uuid, bigint[]) is
    'Answers for the changes of a row that is gone, behind the same fence as record().';
