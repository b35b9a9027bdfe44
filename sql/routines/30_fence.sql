-- The fence: a verdict is recorded only while everything that it was computed from still stands. These are the steps of a
-- batch, each of which notes in the proposals what becomes of them; one that has an outcome is passed over by those that
-- follow. Each runs several statements of one READ COMMITTED transaction, and each statement sees what was committed before
-- it, which a single statement with CTEs does not.

create or replace function auth_reconciler.key_class() returns integer
language sql
immutable
return 1635087464;

comment on function auth_reconciler.key_class() is
    'First number of the advisory locks on keys; keeps ours apart from everybody else''s. The next number is the first one of those on no key, see bell_class().';

create or replace function auth_reconciler.key_hash(watched_id integer, instance_id uuid) returns integer
language sql
immutable
-- Two instances with one hash wait for each other for a moment, nothing more. With casts: what joins text to something
-- else is not immutable, and a function of that kind is not inlined but planned with each call.
return hashtext(watched_id::text || '/' || instance_id::text);

comment on function auth_reconciler.key_hash(integer, uuid) is 'Second number of the advisory lock on a key.';

create or replace function auth_reconciler.enter_gate() returns uuid
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
begin
    -- Records go through the gate together; a take-over has it alone while it begins another epoch, so nothing of an old
    -- epoch is committed after it. It is a lock of the table: one of its row, held by many, would make a multixact for each
    -- of them, and an advisory lock could be taken by anybody.
    lock table auth_reconciler.leadership in row share mode;
    -- None stands after a crash of the server until somebody leads again.
    return (select l.epoch from auth_reconciler.leadership as l);
end
$body$;

comment on function auth_reconciler.enter_gate() is
    'Keeps the epoch as it is until this transaction ends, and returns it.';

create or replace function auth_reconciler.lock_keys(inout work auth_reconciler.proposal[])
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
begin
    for place in 1 .. cardinality(work) loop
        if not pg_try_advisory_xact_lock(
            auth_reconciler.key_class(),
            auth_reconciler.key_hash((work[place].verdict).watched_id, (work[place].verdict).instance_id))
        then
            work[place].outcome := 'busy';
        end if;
    end loop;
end
$body$;

comment on function auth_reconciler.lock_keys(auth_reconciler.proposal[]) is
    'Locks the keys of a batch, which comes in their order, so that there is one record of an instance at a time, also when there is no row of ours yet that could be locked. Never waits: one that somebody else records is busy.';

create or replace function auth_reconciler.stands(outcome text) returns boolean
language sql
immutable
return outcome in ('written', 'right', 'overridden') or outcome like 'unwritable: %';

comment on function auth_reconciler.stands(text) is 'Whether a verdict of this outcome is recorded.';

create or replace function auth_reconciler.is_open(outcome text) returns boolean
language sql
immutable
return outcome is null or outcome in ('written', 'right', 'overridden') or outcome like 'unwritable: %';

comment on function auth_reconciler.is_open(text) is 'Whether a verdict of which this is expected may be recorded yet: nothing has refused it.';

create or replace function auth_reconciler.moved_from(outcome text, status text, known_status text) returns text
language sql
immutable
-- Where somebody else wrote the right value before us, what moved is our verdict.
return case when outcome = 'written' then status else known_status end;

comment on function auth_reconciler.moved_from(text, text, text) is 'What the column, or else the verdict, was before.';

create or replace function auth_reconciler.told(
    outcome text, status text, known_status text, becomes text, other_reason boolean, noticed boolean
) returns text
language sql
immutable
return case
    when not auth_reconciler.stands(outcome) then null
    -- Hands off moves nothing.
    when outcome in ('written', 'right') and becomes is not null and (outcome = 'written' or known_status is not null)
        and auth_reconciler.moved_from(outcome, status, known_status) is distinct from becomes
    then 'transition'
    -- A look by the clock that found the same once more is told by the number of looks alone.
    when noticed or outcome = 'overridden' or other_reason or known_status is distinct from becomes then 'journal'
end;

comment on function auth_reconciler.told(text, text, text, text, boolean, boolean) is
    'Where a verdict of this outcome is told: transition, journal; null is nowhere. noticed: it answers for a change.';

create or replace function auth_reconciler.fence(work auth_reconciler.proposal[]) returns auth_reconciler.proposal[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    now constant timestamptz := clock_timestamp();
begin
    -- Our own rows are locked, and nobody waits for whoever holds one. Each is still the one that was read, and nothing
    -- happened to it beside what was read. The keys are locked since an earlier statement, so this one sees whatever was
    -- recorded of them. By offset 0 each is looked up for itself: a join that was planned while the tables were small would
    -- read all of them when they have grown.
    return array(
        select row(
            p.verdict, p.changes, p.woken_ms, p.retry_ms, p.trouble_ms, p.unwritable_retry_ms, p.becomes, null, p.status,
            p.becomes in ('written', 'overridden'), p.written,
            auth_reconciler.told(
                p.becomes, p.status, p.known_status, (p.verdict).auth_status,
                p.known_reason is distinct from case when p.becomes like 'unwritable: %' then 'Unwritable'
                    else (p.verdict).reason end, p.noticed_at is not null),
            auth_reconciler.moved_from(p.becomes, p.status, p.known_status),
            coalesce(extract(epoch from now - p.noticed_at)::double precision * 1000, p.woken_ms))::auth_reconciler.proposal
        from (
            select p.*, i.auth_status as known_status, i.reason as known_reason,
                (
                    select min(c.changed_at) from auth_reconciler.change as c where p.changes <> '{}'
                        and c.watched_id = (p.verdict).watched_id and c.instance_id = (p.verdict).instance_id) as noticed_at,
                case
                    when not auth_reconciler.is_open(p.outcome) then p.outcome
                    when i.version is null and exists (
                        select from auth_reconciler.instance as i
                        where i.watched_id = (p.verdict).watched_id and i.instance_id = (p.verdict).instance_id) then 'busy'
                    when i.version is distinct from (p.verdict).version then 'version'
                    when exists (
                        select c.id from auth_reconciler.change as c
                        where c.watched_id = (p.verdict).watched_id and c.instance_id = (p.verdict).instance_id
                            -- A write that guard put aside changed nothing, and somebody may write faster than we look.
                            and c.kept is not true
                        -- Hashed: a row may have collected tens of thousands of changes.
                        except select unnest(p.changes)
                    ) then 'change'
                    when p.outcome is not null then p.outcome
                    when (p.verdict).auth_status is null or (p.verdict).auth_status = p.status then 'right'
                    else 'written'
                end as becomes
            from unnest(work) with ordinality as p
            left join lateral (
                select r.version, r.auth_status, r.reason
                from auth_reconciler.instance as r
                where auth_reconciler.is_open(p.outcome)
                    and r.watched_id = (p.verdict).watched_id and r.instance_id = (p.verdict).instance_id
                offset 0
                for update skip locked
            ) as i on true
            order by p.ordinality
            -- Or what becomes of each is asked as often as it is named above.
            offset 0
        ) as p
    );
end
$body$;

comment on function auth_reconciler.fence(auth_reconciler.proposal[]) is
    'Locks our own rows, and refuses whose version or changes are no longer those that were read. Who passes has the outcome that is expected of him, which is what an earlier try has shown, or else by what his column said when it was read; and what will be told of it.';

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

create or replace function auth_reconciler.spend_held(work auth_reconciler.proposal[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
begin
    for place in 1 .. cardinality(work) loop
        if work[place].outcome in ('change', 'held') then
            perform auth_reconciler.spend(work[place].verdict, work[place].changes);
        end if;
    end loop;
end
$body$;

comment on function auth_reconciler.spend_held(auth_reconciler.proposal[]) is
    'Counts the looks at foreign writes whose verdicts were not recorded, because of a change or because somebody held the row.';
