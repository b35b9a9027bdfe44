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
                differ := differ || place;
            end if;
        end if;
    end loop;
    -- It changed since it was read. Whether one is written is decided with its lock and not again: a change after the
    -- fence must not be overwritten.
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
    -- Our own rows. Nobody waits for whoever holds one.
    locked constant uuid[] := array(
        select i.instance_id
        from auth_reconciler.instance as i
        where (i.watched_id, i.instance_id) in (
            select (p.verdict).watched_id, (p.verdict).instance_id
            from unnest(work) as p
            where p.outcome is null or p.outcome = 'held'
        )
        for update of i skip locked
    );
    seen record;
begin
    -- In a new statement, which sees what was committed before all of these locks were held.
    for seen in
        select p.ordinality as place, i as known,
            case
                when i.version is not null and i.instance_id <> all (locked) then 'busy'
                -- Our own row is still the one that was read.
                when i.version is distinct from (p.verdict).version then 'version'
                -- Nothing happened to this instance beside what was read. A write that guard put aside changed nothing,
                -- and somebody may write faster than we look.
                when exists (
                    select c.id
                    from auth_reconciler.change as c
                    where c.watched_id = (p.verdict).watched_id and c.instance_id = (p.verdict).instance_id
                        and c.kept is not true
                    -- Hashed: a row may have collected tens of thousands of changes.
                    except select unnest(p.changes)
                ) then 'change'
            end as refusal
        from unnest(work) with ordinality as p
        left join auth_reconciler.instance as i
            on i.watched_id = (p.verdict).watched_id and i.instance_id = (p.verdict).instance_id
        where p.outcome is null or p.outcome = 'held'
    loop
        work[seen.place].known := seen.known;
        if work[seen.place].outcome is null then
            work[seen.place].outcome := seen.refusal;
        elsif seen.refusal <> 'change' then
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
