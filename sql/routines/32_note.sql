-- What is noted of a batch of verdicts once it is known what became of each.

create or replace function auth_reconciler.stands(outcome text) returns boolean
language sql
immutable
return outcome in ('written', 'right', 'overridden') or outcome like 'unwritable: %';

comment on function auth_reconciler.stands(text) is 'Whether a verdict of this outcome is recorded.';

create or replace function auth_reconciler.begin_instances(inout work auth_reconciler.proposal[])
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    first auth_reconciler.instance;
begin
    for place in 1 .. cardinality(work) loop
        continue when work[place].outcome is not null or (work[place].verdict).version is not null;
        first := work[place].verdict;
        first.version := gen_random_uuid();
        first.generation := 0;
        first.since := clock_timestamp();
        first.settled := false;
        first.reaction_ms := 0;
        first.recorded_at := first.since;
        first.looks := 0;
        first.final := false;
        insert into auth_reconciler.instance select first.*
        on conflict on constraint instance_pkey do nothing;
        -- Of two first records at once, one inserts; the other is refused here, before it has written anything.
        if not found then
            work[place].outcome := 'version';
        end if;
    end loop;
end
$body$;

comment on function auth_reconciler.begin_instances(auth_reconciler.proposal[]) is
    'Makes the rows of instances that are recorded for the first time: the mark of our own write stands in them.';

create or replace function auth_reconciler.concluded(
    p_relation text, p_epoch uuid, p_overridden_retry_ms double precision, p auth_reconciler.proposal
) returns auth_reconciler.instance
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    i auth_reconciler.instance := p.verdict;
    this_moment constant timestamptz := clock_timestamp();
    retry_ms double precision := p.retry_ms;
    trouble_ms double precision := p.trouble_ms;
begin
    if p.outcome like 'unwritable: %' then
        i.reason := 'Unwritable';
        i.message := format(
            'auth_status of table %s cannot be set to %s: %s; correct the table or unwatch it',
            p_relation, i.auth_status, substr(p.outcome, 13));
        retry_ms := p.unwritable_retry_ms;
        trouble_ms := 0;
    elsif p.outcome = 'overridden' then
        i.message := format(
            'the verdict is %s, but a trigger of table %s made it %s; remove that trigger or unwatch the table',
            i.auth_status, p_relation, coalesce(p.written, 'stay ' || coalesce(p.status, 'null')));
        i.contested := greatest(i.contested, 1);
        retry_ms := least(retry_ms, p_overridden_retry_ms);
        trouble_ms := 0;
    end if;
    i.version := gen_random_uuid();
    i.generation := greatest((p.known).generation, (select max(id) from unnest(p.changes) as id), 0);
    i.since := case
        when (p.known).auth_status is not distinct from i.auth_status and (p.known).reason = i.reason
        then (p.known).since else this_moment end;
    i.settled := retry_ms is null;
    i.next_attempt_at := this_moment + retry_ms * interval '1 ms';
    i.trouble_at := i.since + trouble_ms * interval '1 ms';
    i.reaction_ms := p.reaction_ms;
    i.recorded_at := this_moment;
    i.looks := coalesce((p.known).looks, 0) + 1;
    i.epoch := p_epoch;
    i.final := coalesce(i.final, false) and p.outcome in ('written', 'right');
    i.writing := null;
    return i;
end
$body$;

comment on function auth_reconciler.concluded(text, uuid, double precision, auth_reconciler.proposal) is
    'The row of an instance as it is recorded, from the verdict, what was known, and what became of the write.';

create or replace function auth_reconciler.conclude(
    p_relation text, p_epoch uuid, p_overridden_retry_ms double precision, inout work auth_reconciler.proposal[]
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    p auth_reconciler.proposal;
    answered record;
    moves boolean;
begin
    for answered in
        select n.place, a.noticed_at
        from (
            select q.ordinality as place, (q.verdict).instance_id
            from unnest(work) with ordinality as q
        ) as n
        left join auth_reconciler.answer(
            (work[1].verdict).watched_id,
            array(
                select unnest(q.changes) from unnest(work) as q
                where auth_reconciler.stands(q.outcome)
            )) as a on a.instance_id = n.instance_id
    loop
        p := work[answered.place];
        continue when not auth_reconciler.stands(p.outcome);
        p.reaction_ms := coalesce(
            extract(epoch from clock_timestamp() - answered.noticed_at)::double precision * 1000, p.woken_ms);
        p.verdict := auth_reconciler.concluded(p_relation, p_epoch, p_overridden_retry_ms, p);
        -- Where somebody else wrote the right value before us, what moved is our verdict.
        p.from_status := case when p.outcome = 'written' then p.status else (p.known).auth_status end;
        -- Hands off moves nothing.
        moves := p.outcome in ('written', 'right') and (p.verdict).auth_status is not null
            and p.from_status is distinct from (p.verdict).auth_status
            and (p.outcome = 'written' or (p.known).auth_status is not null);
        -- A look by the clock that found the same once more is told by the number of looks alone.
        p.told := case
            when moves then 'transition'
            when answered.noticed_at is not null or p.outcome = 'overridden'
                or (p.known).reason is distinct from (p.verdict).reason
                or (p.known).auth_status is distinct from (p.verdict).auth_status
            then 'journal'
        end;
        work[answered.place] := p;
    end loop;
end
$body$;

comment on function auth_reconciler.conclude(text, uuid, double precision, auth_reconciler.proposal[]) is
    'Takes the changes that were read out of the log, and makes of each verdict that stands the row that is recorded, and what of it is told.';

create or replace function auth_reconciler.note(
    p_watched_id integer, p_work auth_reconciler.proposal[], p_per_instance integer, p_max_age interval
) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    n auth_reconciler.instance;
    moved bigint[];
begin
    -- One by one, see fence().
    for n in select (p.verdict).* from unnest(p_work) as p loop
        update auth_reconciler.instance as i
        set version = n.version, generation = n.generation, auth_status = n.auth_status, reason = n.reason,
            message = n.message, since = n.since, settled = n.settled, next_attempt_at = n.next_attempt_at,
            trouble_at = n.trouble_at, cause = n.cause, reaction_ms = n.reaction_ms, recorded_at = n.recorded_at,
            looks = n.looks, epoch = n.epoch, final = n.final, writing = n.writing, attempts = n.attempts,
            misses = n.misses, first_miss_at = n.first_miss_at, not_ready_since = n.not_ready_since,
            established = n.established, ready_at = n.ready_at, started_at = n.started_at, account_at = n.account_at,
            corrections_spent = n.corrections_spent, corrections_since = n.corrections_since, contested = n.contested,
            hold_until = n.hold_until, foreign_at = n.foreign_at, container_engine = n.container_engine,
            container_id = n.container_id, container_name = n.container_name, container_state = n.container_state,
            container_started_at = n.container_started_at, container_network = n.container_network
        where i.watched_id = p_watched_id and i.instance_id = n.instance_id;
    end loop;
    with transitions as (
        insert into auth_reconciler.transition
            (watched_id, instance_id, at, from_status, to_status, reason, message, cause, reaction_ms)
        select (p.verdict).watched_id, (p.verdict).instance_id, (p.verdict).recorded_at, p.from_status,
            (p.verdict).auth_status, (p.verdict).reason, (p.verdict).message, (p.verdict).cause, p.reaction_ms
        from unnest(p_work) as p
        where p.told = 'transition'
        returning id
    )
    select array_agg(t.id order by t.id) into moved from transitions as t;
    if moved is not null then
        perform auth_reconciler.tell_watchers(id) from unnest(moved) as id;
    end if;
    insert into auth_reconciler.journal
        (watched_id, instance_id, at, act, cause, times, first_at, from_status, to_status, reason, message, looks)
    select (p.verdict).watched_id, (p.verdict).instance_id, (p.verdict).recorded_at, 'verdict', (p.verdict).cause, 1,
        (p.verdict).recorded_at, (p.known).auth_status, (p.verdict).auth_status, (p.verdict).reason,
        (p.verdict).message, (p.verdict).looks
    from unnest(p_work) as p
    where p.told = 'journal';
    perform auth_reconciler.prune(
        p_watched_id,
        array(select (p.verdict).instance_id from unnest(p_work) as p where p.told is not null),
        p_per_instance, p_max_age);
end
$body$;

comment on function auth_reconciler.note(integer, auth_reconciler.proposal[], integer, interval) is
    'Writes down the verdicts that stand: our rows, the transitions, the journal; and prunes the history of those instances.';
