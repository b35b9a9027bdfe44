-- What is noted of a batch of verdicts, as it is expected to become of each; see record_in_tries().

create or replace function auth_reconciler.begin_instances(inout work auth_reconciler.proposal[])
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    first auth_reconciler.instance;
begin
    for place in 1 .. cardinality(work) loop
        continue when (work[place].verdict).version is not null;
        continue when not auth_reconciler.stands(work[place].outcome);
        first := work[place].verdict;
        first.version := gen_random_uuid();
        first.generation := 0;
        first.since := clock_timestamp();
        first.settled := false;
        first.reaction_ms := 0;
        first.recorded_at := first.since;
        first.looks := 0;
        first.final := false;
        first.writing := null;
        insert into auth_reconciler.instance select first.*
        on conflict on constraint instance_pkey do nothing;
        -- Of two first records at once, one inserts; the other is refused here.
        if not found then
            work[place].outcome := 'version';
            work[place].writes := false;
        end if;
    end loop;
end
$body$;

comment on function auth_reconciler.begin_instances(auth_reconciler.proposal[]) is
    'Makes the rows of instances that are recorded for the first time.';

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
    changes bigint[] := '{}';
    single boolean := true;
    nothing record;
begin
    for place in 1 .. cardinality(work) loop
        if auth_reconciler.stands(work[place].outcome) then
            changes := changes || work[place].changes;
            single := single and cardinality(work[place].changes) < 2;
        end if;
        if work[place].outcome = 'overridden' or work[place].outcome like 'unwritable: %' then
            work[place] := auth_reconciler.not_as_decided(p_relation, p_overridden_retry_ms, work[place]);
        end if;
    end loop;
    nothing := auth_reconciler.answer_changes((work[1].verdict).watched_id, changes, single);
end
$body$;

comment on function auth_reconciler.conclude(text, double precision, auth_reconciler.proposal[]) is
    'Takes the changes that were read out of the log, of those verdicts that are expected to stand, and says in others than as decided why.';

create or replace function auth_reconciler.note_in_journal(
    p_watched_id integer, noted_at timestamptz, p_work auth_reconciler.proposal[]
) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
begin
    insert into auth_reconciler.journal
        (watched_id, instance_id, at, act, cause, times, first_at, from_status, to_status, reason, message, looks)
    select p_watched_id, (p.verdict).instance_id, noted_at, 'verdict', (p.verdict).cause, 1,
        noted_at, p.from_status, (p.verdict).auth_status, (p.verdict).reason, (p.verdict).message, i.looks
    from unnest(p_work) as p
    -- Each is looked up for itself, see fence().
    cross join lateral (
        select r.looks
        from auth_reconciler.instance as r
        where r.watched_id = p_watched_id and r.instance_id = (p.verdict).instance_id
        offset 0
    ) as i
    where p.told = 'journal';
end
$body$;

comment on function auth_reconciler.note_in_journal(integer, timestamptz, auth_reconciler.proposal[]) is
    'Writes down what is to be told in the journal of looks, once their instances have been noted.';

create or replace function auth_reconciler.note(
    p_watched_id integer, p_epoch uuid, p_work auth_reconciler.proposal[], out moved bigint[]
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    noted_at constant timestamptz := clock_timestamp();
    this_transaction constant text := pg_current_xact_id()::text;
begin
    with noted as (
        update auth_reconciler.instance as i
        set version = gen_random_uuid(),
            generation = greatest(i.generation, (select max(id) from unnest(n.changes) as id)),
            auth_status = (n.verdict).auth_status, reason = (n.verdict).reason, message = (n.verdict).message,
            since = n.since, trouble_at = n.since + n.trouble_ms * interval '1 ms',
            settled = n.retry_ms is null, next_attempt_at = noted_at + n.retry_ms * interval '1 ms',
            cause = (n.verdict).cause, reaction_ms = n.reaction_ms, recorded_at = noted_at,
            looks = i.looks + 1, epoch = p_epoch, final = coalesce((n.verdict).final, false),
            -- By this our triggers know the write that follows as ours: nobody else may write it, so who pretends cannot.
            writing = case when n.writes then this_transaction end,
            attempts = (n.verdict).attempts, misses = (n.verdict).misses, first_miss_at = (n.verdict).first_miss_at,
            not_ready_since = (n.verdict).not_ready_since, ready_at = (n.verdict).ready_at,
            established = (n.verdict).established, started_at = (n.verdict).started_at, account_at = (n.verdict).account_at,
            corrections_spent = (n.verdict).corrections_spent, corrections_since = (n.verdict).corrections_since,
            contested = (n.verdict).contested, hold_until = (n.verdict).hold_until, foreign_at = (n.verdict).foreign_at,
            container_engine = (n.verdict).container_engine, container_id = (n.verdict).container_id,
            container_name = (n.verdict).container_name, container_state = (n.verdict).container_state,
            container_started_at = (n.verdict).container_started_at, container_network = (n.verdict).container_network
        from (
            select p.*, r.ctid as found_at, r.since
            from unnest(p_work) as p
            -- Each is looked up for itself, see fence().
            cross join lateral (
                select r.ctid,
                    case when r.auth_status is not distinct from (p.verdict).auth_status
                        and r.reason = (p.verdict).reason then r.since else noted_at end as since
                from auth_reconciler.instance as r
                where r.watched_id = p_watched_id and r.instance_id = (p.verdict).instance_id
                offset 0
            ) as r
            where auth_reconciler.stands(p.outcome)) as n
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
        perform auth_reconciler.note_in_journal(p_watched_id, noted_at, p_work);
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
