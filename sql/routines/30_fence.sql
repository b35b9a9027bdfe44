-- The fence: a verdict is recorded only while everything that it was computed from still stands. These are the steps of a
-- batch, each of which notes in the proposals what becomes of them; one that has an outcome is passed over by those that
-- follow. Each runs several statements of one READ COMMITTED transaction, and each statement sees what was committed before
-- it, which a single statement with CTEs does not.

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

create or replace function auth_reconciler.lock_differing(
    relation text, places integer[], inout work auth_reconciler.proposal[]
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    ids constant uuid[] := array(select (work[place].verdict).instance_id from unnest(places) as place);
    wanted constant text[] := array(select (work[place].verdict).auth_status from unnest(places) as place);
    seen record;
    place integer;
begin
    if places = '{}' then
        return;
    end if;
    for seen in execute format(
        'select w.id, w.auth_status::text as status from %s as w '
        'where w.id = any ($1) and w.auth_status::text is distinct from ($2)[array_position($1, w.id)] '
        'order by w.id for no key update skip locked', relation)
        using ids, wanted
    loop
        place := places[array_position(ids, seen.id)];
        work[place].status := seen.status;
        work[place].writes := true;
    end loop;
end
$body$;

comment on function auth_reconciler.lock_differing(text, integer[], auth_reconciler.proposal[]) is
    'Locks those of the watched rows whose status is not the verdict, and waits for none.';

create or replace function auth_reconciler.refusal(
    p auth_reconciler.proposal, out known auth_reconciler.instance, out refused text
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
begin
    -- Our own row. Nobody waits for whoever holds it.
    select i.* into known
    from auth_reconciler.instance as i
    where i.watched_id = (p.verdict).watched_id and i.instance_id = (p.verdict).instance_id
    for update skip locked;
    if not found then
        perform
        from auth_reconciler.instance as i
        where i.watched_id = (p.verdict).watched_id and i.instance_id = (p.verdict).instance_id;
        if found then
            refused := 'busy';
            return;
        end if;
    end if;
    -- It is still the one that was read.
    if known.version is distinct from (p.verdict).version then
        refused := 'version';
    -- Nothing happened to this instance beside what was read: in a new statement, which sees what was committed before the
    -- locks were held. A write that guard put aside changed nothing, and somebody may write faster than we look.
    elsif exists (
        select c.id
        from auth_reconciler.change as c
        where c.watched_id = (p.verdict).watched_id and c.instance_id = (p.verdict).instance_id
            and c.kept is not true
        -- Hashed: a row may have collected tens of thousands of changes.
        except select unnest(p.changes)
    )
    then
        refused := 'change';
    end if;
end
$body$;

comment on function auth_reconciler.refusal(auth_reconciler.proposal) is
    'Locks our own row of an instance and returns it, with what speaks against a verdict on it: busy, version or change; null if nothing does.';

create or replace function auth_reconciler.lock_rows(relation text, inout work auth_reconciler.proposal[])
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    -- Those that are expected to be written, as it was when they were read.
    expected constant integer[] := array(
        select p.ordinality
        from unnest(work) with ordinality as p
        where p.outcome is null and (p.verdict).auth_status is distinct from p.status
            and (p.verdict).auth_status is not null
    );
    others integer[];
    differ integer[] := '{}';
    ids uuid[];
    seen record;
    place integer;
begin
    work := auth_reconciler.lock_differing(relation, expected, work);
    others := array(
        select p.ordinality from unnest(work) with ordinality as p where p.outcome is null and p.writes is not true);
    if others = '{}' then
        return;
    end if;
    -- One that was not locked is right, held by somebody else, or not there.
    ids := array(select (work[o].verdict).instance_id from unnest(others) as o);
    for seen in execute format(
        'select p.id, w.id is not null as present, w.auth_status::text as status '
        'from unnest($1) as p (id) left join %s as w on w.id = p.id', relation)
        using ids
    loop
        place := others[array_position(ids, seen.id)];
        work[place].status := seen.status;
        if not seen.present then
            work[place].outcome := 'gone';
        elsif (work[place].verdict).auth_status is distinct from seen.status
            and (work[place].verdict).auth_status is not null
        then
            if place = any (expected) then
                work[place].outcome := 'held';
            else
                -- It changed since it was read, and as a rule that is in the log: then nobody's row is locked for it.
                work[place].outcome := (auth_reconciler.refusal(work[place])).refused;
                if work[place].outcome is null then
                    differ := differ || place;
                end if;
            end if;
        end if;
    end loop;
    -- Whether one is written is decided with its lock and not again: a change after the fence must not be overwritten.
    work := auth_reconciler.lock_differing(relation, differ, work);
    for place in select d from unnest(differ) as d loop
        if work[place].writes is not true then
            work[place].outcome := 'held';
        end if;
    end loop;
end
$body$;

comment on function auth_reconciler.lock_rows(text, auth_reconciler.proposal[]) is
    'Locks the watched rows that will be written, and no other, and waits for none: one that somebody else holds is "held", and one that is not there is gone.';

create or replace function auth_reconciler.fence(inout work auth_reconciler.proposal[])
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    p auth_reconciler.proposal;
    seen record;
begin
    -- One by one: a plan for all of them, made while the table was small, would read all of it when it has grown.
    for place in 1 .. cardinality(work) loop
        p := work[place];
        continue when p.outcome is distinct from 'held' and p.outcome is not null;
        seen := auth_reconciler.refusal(p);
        p.known := seen.known;
        if p.outcome is null then
            p.outcome := seen.refused;
        elsif seen.refused <> 'change' then
            p.outcome := 'busy';
        end if;
        work[place] := p;
    end loop;
end
$body$;

comment on function auth_reconciler.fence(auth_reconciler.proposal[]) is
    'Locks our own rows, and refuses whose version or changes are no longer those that were read. One that is held stays so if nothing else speaks against it, else it is merely busy.';

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
