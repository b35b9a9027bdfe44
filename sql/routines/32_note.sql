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

create or replace function auth_reconciler.not_as_decided(
    p_relation text, p_overridden_retry_ms double precision, inout p auth_reconciler.proposal
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    i auth_reconciler.instance := p.verdict;
begin
    if p.outcome = 'overridden' then
        i.message := format(
            'the verdict is %s, but a trigger of table %s made it %s; remove that trigger or unwatch the table',
            i.auth_status, p_relation, coalesce(p.written, 'stay ' || coalesce(p.status, 'null')));
        i.contested := greatest(i.contested, 1);
        p.retry_ms := least(p.retry_ms, p_overridden_retry_ms);
    else
        i.reason := 'Unwritable';
        i.message := format(
            'auth_status of table %s cannot be set to %s: %s; correct the table or unwatch it',
            p_relation, i.auth_status, substr(p.outcome, 13));
        p.retry_ms := p.unwritable_retry_ms;
    end if;
    i.final := false;
    p.trouble_ms := 0;
    p.verdict := i;
end
$body$;

comment on function auth_reconciler.not_as_decided(text, double precision, auth_reconciler.proposal) is
    'What is noted of a verdict that a trigger has overridden or the table has refused: it is trouble, it is tried again, and its message says why.';

create or replace function auth_reconciler.conclude(
    p_relation text, p_overridden_retry_ms double precision, inout work auth_reconciler.proposal[]
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    p auth_reconciler.proposal;
    changes bigint[] := '{}';
    single boolean := true;
    answered record;
    noticed_at timestamptz;
begin
    for place in 1 .. cardinality(work) loop
        if auth_reconciler.stands(work[place].outcome) then
            changes := changes || work[place].changes;
            single := single and cardinality(work[place].changes) < 2;
        end if;
    end loop;
    answered := auth_reconciler.answer_changes((work[1].verdict).watched_id, changes, single);
    for place in 1 .. cardinality(work) loop
        p := work[place];
        continue when not auth_reconciler.stands(p.outcome);
        noticed_at := answered.noticed_at[array_position(answered.instance_ids, (p.verdict).instance_id)];
        p.reaction_ms := coalesce(
            extract(epoch from clock_timestamp() - noticed_at)::double precision * 1000, p.woken_ms);
        if p.outcome not in ('written', 'right') then
            p := auth_reconciler.not_as_decided(p_relation, p_overridden_retry_ms, p);
        end if;
        -- Where somebody else wrote the right value before us, what moved is our verdict.
        p.from_status := case when p.outcome = 'written' then p.status else (p.known).auth_status end;
        p.told := case
            -- Hands off moves nothing.
            when p.outcome in ('written', 'right') and (p.verdict).auth_status is not null
                and p.from_status is distinct from (p.verdict).auth_status
                and (p.outcome = 'written' or (p.known).auth_status is not null)
            then 'transition'
            -- A look by the clock that found the same once more is told by the number of looks alone.
            when noticed_at is not null or p.outcome = 'overridden'
                or (p.known).reason is distinct from (p.verdict).reason
                or (p.known).auth_status is distinct from (p.verdict).auth_status
            then 'journal'
        end;
        work[place] := p;
    end loop;
end
$body$;

comment on function auth_reconciler.conclude(text, double precision, auth_reconciler.proposal[]) is
    'Takes the changes that were read out of the log, and decides of each verdict that stands what is noted and told of it.';

create or replace function auth_reconciler.note(
    p_watched_id integer, p_epoch uuid, p_work auth_reconciler.proposal[], out moved bigint[]
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    noted_at constant timestamptz := clock_timestamp();
begin
    with noted as (
        update auth_reconciler.instance as i
        set version = gen_random_uuid(),
            generation = greatest((n.known).generation, (select max(id) from unnest(n.changes) as id), 0),
            auth_status = (n.verdict).auth_status,
            reason = (n.verdict).reason, message = (n.verdict).message, since = n.since,
            settled = n.retry_ms is null,
            next_attempt_at = noted_at + n.retry_ms * interval '1 ms',
            trouble_at = n.since + n.trouble_ms * interval '1 ms',
            cause = (n.verdict).cause, reaction_ms = n.reaction_ms, recorded_at = noted_at,
            looks = coalesce((n.known).looks, 0) + 1,
            epoch = p_epoch, final = coalesce((n.verdict).final, false), writing = null,
            attempts = (n.verdict).attempts, misses = (n.verdict).misses, first_miss_at = (n.verdict).first_miss_at,
            not_ready_since = (n.verdict).not_ready_since,
            established = (n.verdict).established, ready_at = (n.verdict).ready_at,
            started_at = (n.verdict).started_at, account_at = (n.verdict).account_at,
            corrections_spent = (n.verdict).corrections_spent, corrections_since = (n.verdict).corrections_since,
            contested = (n.verdict).contested, hold_until = (n.verdict).hold_until, foreign_at = (n.verdict).foreign_at,
            container_engine = (n.verdict).container_engine, container_id = (n.verdict).container_id,
            container_name = (n.verdict).container_name, container_state = (n.verdict).container_state,
            container_started_at = (n.verdict).container_started_at,
            container_network = (n.verdict).container_network
        from (
            select p.*, r.ctid as found_at, r.since
            from unnest(p_work) as p
            -- Each is looked up for itself, see fence().
            cross join lateral (
                select r.ctid,
                    case when (p.known).auth_status is not distinct from (p.verdict).auth_status
                        and (p.known).reason = (p.verdict).reason then (p.known).since else noted_at end as since
                from auth_reconciler.instance as r
                where r.watched_id = p_watched_id and r.instance_id = (p.verdict).instance_id
                offset 0
            ) as r
            where auth_reconciler.stands(p.outcome)
        ) as n
        where i.ctid = n.found_at
    ),
    transitions as (
        insert into auth_reconciler.transition
            (watched_id, instance_id, at, from_status, to_status, reason, message, cause, reaction_ms)
        select p_watched_id, (p.verdict).instance_id, noted_at, p.from_status,
            (p.verdict).auth_status, (p.verdict).reason, (p.verdict).message, (p.verdict).cause, p.reaction_ms
        from unnest(p_work) as p
        where p.told = 'transition'
        returning id
    )
    select array_agg(t.id order by t.id) into moved from transitions as t;
    -- Apart: most batches have nothing for it.
    if coalesce(cardinality(moved), 0) < cardinality(p_work) then
        insert into auth_reconciler.journal
            (watched_id, instance_id, at, act, cause, times, first_at, from_status, to_status, reason, message, looks)
        select p_watched_id, (p.verdict).instance_id, noted_at, 'verdict', (p.verdict).cause, 1,
            noted_at, (p.known).auth_status, (p.verdict).auth_status, (p.verdict).reason,
            (p.verdict).message, coalesce((p.known).looks, 0) + 1
        from unnest(p_work) as p
        where p.told = 'journal';
    end if;
end
$body$;

comment on function auth_reconciler.note(integer, uuid, auth_reconciler.proposal[]) is
    'Writes down the verdicts that stand: our rows, the transitions, whose numbers it returns, and the journal.';

create or replace function auth_reconciler.prune_some(
    p_watched_id integer, p_work auth_reconciler.proposal[], p_per_instance integer, p_max_age interval
) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    -- By chance one look of so many, for it costs as much as what is noted of a look. What is kept beyond the bound until
    -- then is little beside it.
    looks constant integer := greatest(1, least(16, p_per_instance / 8));
    pruned uuid[] := '{}';
begin
    for place in 1 .. cardinality(p_work) loop
        if p_work[place].told is not null and random() * looks < 1 then
            pruned := pruned || (p_work[place].verdict).instance_id;
        end if;
    end loop;
    if pruned <> '{}' then
        perform auth_reconciler.prune(p_watched_id, pruned, p_per_instance, p_max_age, looks);
    end if;
end
$body$;

comment on function auth_reconciler.prune_some(integer, auth_reconciler.proposal[], integer, interval) is
    'Prunes the history of some of the instances of which a batch has told something.';
