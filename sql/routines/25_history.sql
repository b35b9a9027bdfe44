-- What is kept of what happened. Written and pruned in the transaction of a record or not at all: a quiet
-- fleet costs nothing, and without a daemon nothing but the change log grows.

create or replace function auth_reconciler.act_of(cause text, kept boolean) returns text
language sql
immutable
return case when kept then 'guarded' when cause in ('drift', 'operator') then cause else 'change' end;

comment on function auth_reconciler.act_of(text, boolean) is 'What a change is called in the journal.';

create or replace function auth_reconciler.answer_changes(
    watched_id integer, changes bigint[], single boolean, out instance_ids uuid[], out noticed_at timestamptz[]
)
-- Not in the language SQL, of which each call would be planned anew.
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
#variable_conflict use_column
begin
    if changes = '{}' then
        return;
    end if;
    if single then
        -- As mostly: nothing is alike, and nothing is too much.
        with answered as (
            delete from auth_reconciler.change as c where c.id = any (answer_changes.changes) returning c.*
        ),
        told as (
            insert into auth_reconciler.journal
                (watched_id, instance_id, at, act, cause, times, first_at, from_status, to_status, message, application, role)
            select
                answer_changes.watched_id, a.instance_id, a.changed_at, auth_reconciler.act_of(a.cause, a.kept), a.cause, 1,
                a.changed_at, a.from_status, a.to_status, a.note, a.application, a.role
            from answered as a
        )
        select array_agg(a.instance_id), array_agg(a.changed_at) into instance_ids, noticed_at from answered as a;
        return;
    end if;
    with answered as (
        delete from auth_reconciler.change as c where c.id = any (answer_changes.changes) returning c.*
    ),
    alike as (
        select
            a.instance_id, max(a.changed_at) as at,
            auth_reconciler.act_of(a.cause, a.kept) as act,
            a.cause, count(*) as times, min(a.changed_at) as first_at, a.from_status, a.to_status, a.note, a.application,
            a.role, max(a.id) as last,
            row_number() over (partition by a.instance_id order by max(a.id) desc) as place
        from answered as a
        -- Those alike are one entry: a mad writer fills no history.
        group by a.instance_id, a.cause, a.kept, a.from_status, a.to_status, a.note, a.application, a.role
    ),
    told as (
        insert into auth_reconciler.journal
            (watched_id, instance_id, at, act, cause, times, first_at, from_status, to_status, message, application, role)
        select
            answer_changes.watched_id, n.instance_id, n.at, n.act, n.cause, n.times, n.first_at, n.from_status,
            n.to_status, n.note, n.application, n.role
        from alike as n
        where n.place <= 20
        order by n.last desc
    ),
    oldest as (
        select n.instance_id, min(n.first_at) as at from alike as n group by n.instance_id
    )
    select array_agg(o.instance_id), array_agg(o.at) into instance_ids, noticed_at from oldest as o;
end
$body$;

comment on function auth_reconciler.answer_changes(integer, bigint[], boolean) is
    'Takes the changes that looks have read out of the log and notes them in the journal, those alike of an instance as one entry. single: no instance has two of them. Returns the instances that had any, with the time of the oldest of each. Call it behind the fence.';

create or replace function auth_reconciler.prune(
    watched_id integer, instances uuid[], per_instance integer, max_age interval, looks integer
) returns void
language plpgsql
-- To pass over what somebody has locked takes a right that no daemon needs otherwise.
security definer
set search_path = pg_catalog, pg_temp
as $body$
declare
    -- Watched rows may be locked meanwhile.
    most constant integer := 250;
    -- Once, for a bound that changes from row to row bounds no scan of an index.
    oldest constant timestamptz := clock_timestamp() - max_age;
    count constant integer := cardinality(instances) * looks;
    pruned uuid;
begin
    -- One by one, see fence(); and in the order of an index that has all of it, or all entries are walked in that of their
    -- numbers where the tables were small when this was planned.
    foreach pruned in array instances loop
        delete from auth_reconciler.transition as t
        where t.id = any (array(
            select old.id
            from auth_reconciler.transition as old
            where old.watched_id = prune.watched_id and old.instance_id = pruned and old.id <= (
                select kept.id
                from auth_reconciler.transition as kept
                where kept.watched_id = prune.watched_id and kept.instance_id = pruned
                order by kept.watched_id desc, kept.instance_id desc, kept.id desc
                offset prune.per_instance limit 1
            )
            order by old.watched_id, old.instance_id, old.id
            limit most
            for update skip locked
        ));
        delete from auth_reconciler.journal as j
        where j.id = any (array(
            select old.id
            from auth_reconciler.journal as old
            where old.watched_id = prune.watched_id and old.instance_id = pruned and old.id <= (
                select kept.id
                from auth_reconciler.journal as kept
                where kept.watched_id = prune.watched_id and kept.instance_id = pruned
                order by kept.watched_id desc, kept.instance_id desc, kept.id desc
                offset prune.per_instance limit 1
            )
            order by old.watched_id, old.instance_id, old.id
            limit most
            for update skip locked
        ));
    end loop;
    -- Some old ones of any instance go with them, more than so many looks can add, so the whole shrinks by
    -- itself, and no more at once than takes a moment. One at a time: the others must neither wait for it nor meet it in
    -- another order.
    if count = 0 or not pg_try_advisory_xact_lock(auth_reconciler.key_class() + 1, 0) then
        return;
    end if;
    delete from auth_reconciler.transition as t
    where t.id = any (array(
        select old.id from auth_reconciler.transition as old where old.at < oldest order by old.at limit least(10 * count, most)
        for update skip locked
    ));
    delete from auth_reconciler.journal as j
    where j.id = any (array(
        select old.id from auth_reconciler.journal as old where old.at < oldest order by old.at limit least(30 * count, 2 * most)
        for update skip locked
    ));
end
$body$;

comment on function auth_reconciler.prune(integer, uuid[], integer, interval, integer) is
    'Keeps the history of instances within its count, and takes some of what is too old with it. looks: how many looks may have added to it for each of them.';
