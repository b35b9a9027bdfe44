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

create or replace function auth_reconciler.prepared(purpose text, relation text, statement text) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    prepared_as constant text := purpose || '_' || to_hex(hashtext(relation));
    setting constant text := 'auth_reconciler.' || prepared_as;
    nothing text;
begin
    if current_setting(setting, true) = relation then
        return prepared_as;
    end if;
    -- What is prepared stays when a transaction is undone, and what was set does not. Of two tables with one hash each takes
    -- the place of the other.
    if exists (select from pg_prepared_statements as s where s.name = prepared_as) then
        execute format('deallocate %I', prepared_as);
    end if;
    execute format('prepare %I %s', prepared_as, statement);
    nothing := set_config(setting, relation, false);
    return prepared_as;
end
$body$;

comment on function auth_reconciler.prepared(text, text, text) is
    'Prepares a statement on a watched table, once in a session, and returns its name: to parse and plan it with each record costs more than to run it.';

create or replace function auth_reconciler.lock_differing(
    relation text, places integer[], ids uuid[], wanted text[], inout work auth_reconciler.proposal[]
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    locked uuid[];
    statuses text[];
    place integer;
begin
    execute format(
        'execute %I (%L, %L)',
        auth_reconciler.prepared('lock', relation, format(
            '(uuid[], text[]) as select array_agg(l.id), array_agg(l.status) from ('
            'select w.id, w.auth_status::text as status from %s as w '
            'where w.id = any ($1) and w.auth_status::text is distinct from ($2)[array_position($1, w.id)] '
            'order by w.id for no key update skip locked) as l', relation)),
        ids, wanted)
        into locked, statuses;
    for i in 1 .. coalesce(cardinality(locked), 0) loop
        place := places[array_position(ids, locked[i])];
        work[place].status := statuses[i];
        work[place].writes := true;
    end loop;
end
$body$;

comment on function auth_reconciler.lock_differing(text, integer[], uuid[], text[], auth_reconciler.proposal[]) is
    'Locks those of these watched rows whose status is not the verdict, and waits for none. places: where they are in the batch.';

create or replace function auth_reconciler.look_at_others(
    relation text, others integer[], expected integer[], inout work auth_reconciler.proposal[]
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    ids constant uuid[] := array(select (work[o].verdict).instance_id from unnest(others) as o);
    differ integer[] := '{}';
    seen record;
    place integer;
begin
    -- One that was not locked is right, held by somebody else, or not there.
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
                work[place].outcome := ((auth_reconciler.fence(array[work[place]]))[1]).outcome;
                if work[place].outcome is null then
                    differ := differ || place;
                end if;
            end if;
        end if;
    end loop;
    if differ = '{}' then
        return;
    end if;
    -- Whether one is written is decided with its lock and not again: a change after the fence must not be overwritten.
    work := auth_reconciler.lock_differing(
        relation, differ,
        array(select (work[d].verdict).instance_id from unnest(differ) as d),
        array(select (work[d].verdict).auth_status from unnest(differ) as d),
        work);
    foreach place in array differ loop
        if work[place].writes is not true then
            work[place].outcome := 'held';
        end if;
    end loop;
end
$body$;

comment on function auth_reconciler.look_at_others(text, integer[], integer[], auth_reconciler.proposal[]) is
    'What becomes of those whose watched row was not locked: it is right, "held" by somebody else, gone, or it has changed since it was read and is locked after all. expected: those that were to be locked.';

create or replace function auth_reconciler.lock_rows(relation text, inout work auth_reconciler.proposal[])
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    expected integer[];
    ids uuid[];
    wanted text[];
    others integer[] := '{}';
begin
    -- Those that are expected to be written, as it was when they were read.
    select array_agg(p.ordinality), array_agg((p.verdict).instance_id), array_agg((p.verdict).auth_status)
    into expected, ids, wanted
    from unnest(work) with ordinality as p
    where p.outcome is null and (p.verdict).auth_status is distinct from p.status and (p.verdict).auth_status is not null;
    if expected is not null then
        work := auth_reconciler.lock_differing(relation, expected, ids, wanted, work);
    end if;
    for place in 1 .. cardinality(work) loop
        if work[place].outcome is null and work[place].writes is not true then
            others := others || place;
        end if;
    end loop;
    if others <> '{}' then
        work := auth_reconciler.look_at_others(relation, others, coalesce(expected, '{}'), work);
    end if;
end
$body$;

comment on function auth_reconciler.lock_rows(text, auth_reconciler.proposal[]) is
    'Locks the watched rows that will be written, and no other, and waits for none: one that somebody else holds is "held", and one that is not there is gone.';

create or replace function auth_reconciler.fence(inout work auth_reconciler.proposal[])
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    seen record;
begin
    -- Our own rows are locked, and nobody waits for whoever holds one. Each is still the one that was read, and nothing
    -- happened to it beside what was read. The keys are locked since an earlier statement, so this one sees whatever was
    -- recorded of them; and of a watched row that is locked no change can be logged any more. By offset 0 each is looked
    -- up for itself: a join that was planned while the tables were small would read all of them when they have grown.
    for seen in
        select p.ordinality as place, i.known,
            case
                when i.version is null and exists (
                    select
                    from auth_reconciler.instance as i
                    where i.watched_id = (p.verdict).watched_id and i.instance_id = (p.verdict).instance_id
                ) then 'busy'
                when i.version is distinct from (p.verdict).version then 'version'
                when exists (
                    select c.id
                    from auth_reconciler.change as c
                    where c.watched_id = (p.verdict).watched_id and c.instance_id = (p.verdict).instance_id
                        -- A write that guard put aside changed nothing, and somebody may write faster than we look.
                        and c.kept is not true
                    -- Hashed: a row may have collected tens of thousands of changes.
                    except select unnest(p.changes)
                ) then 'change'
            end as refused
        from unnest(work) with ordinality as p
        left join lateral (
            select r as known, r.version
            from auth_reconciler.instance as r
            where r.watched_id = (p.verdict).watched_id and r.instance_id = (p.verdict).instance_id
            offset 0
            for update skip locked
        ) as i on true
        where p.outcome is null or p.outcome = 'held'
    loop
        work[seen.place].known := seen.known;
        if work[seen.place].outcome is null then
            work[seen.place].outcome := seen.refused;
        elsif seen.refused <> 'change' then
            work[seen.place].outcome := 'busy';
        end if;
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
