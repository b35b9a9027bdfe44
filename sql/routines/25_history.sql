-- What is kept of what happened. Written and pruned in the transaction of a record or not at all: a quiet
-- fleet costs nothing, and without a daemon nothing but the change log grows.

create or replace function auth_reconciler.answer(watched_id integer, instance_id uuid, changes bigint[])
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
#variable_conflict use_column
begin
    with answered as (
        delete from auth_reconciler.change as c where c.id = any (answer.changes) returning c.*
    )
    insert into auth_reconciler.journal
        (watched_id, instance_id, at, act, cause, times, first_at, from_status, to_status, message, application, role)
    select
        answer.watched_id, answer.instance_id, max(a.changed_at),
        case when a.kept then 'guarded' when a.cause = 'drift' then 'drift' when a.cause = 'operator' then 'operator'
            else 'change' end,
        a.cause, count(*), min(a.changed_at), a.from_status, a.to_status, a.note, a.application, a.role
    from answered as a
    -- Those alike are one entry: a mad writer fills no history.
    group by a.cause, a.kept, a.from_status, a.to_status, a.note, a.application, a.role
    order by max(a.id) desc
    limit 20;
    return found;
end
$body$;

comment on function auth_reconciler.answer(integer, uuid, bigint[]) is
    'Takes the changes that a look has read out of the log and notes them in the journal, those alike as one entry. Call it behind the fence.';

create or replace function auth_reconciler.prune(
    watched_id integer, instance_id uuid, per_instance integer, max_age interval
) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
begin
    delete from auth_reconciler.transition as t
    where t.watched_id = prune.watched_id and t.instance_id = prune.instance_id
        and t.id <= (
            select kept.id
            from auth_reconciler.transition as kept
            where kept.watched_id = prune.watched_id and kept.instance_id = prune.instance_id
            order by kept.id desc
            offset prune.per_instance limit 1
        );
    delete from auth_reconciler.journal as j
    where j.watched_id = prune.watched_id and j.instance_id = prune.instance_id
        and j.id <= (
            select kept.id
            from auth_reconciler.journal as kept
            where kept.watched_id = prune.watched_id and kept.instance_id = prune.instance_id
            order by kept.id desc
            offset prune.per_instance limit 1
        );
    -- Some old ones of any instance go with each record, more than it can add, so the whole shrinks by
    -- itself. One record at a time: the others must neither wait for it nor meet it in another order.
    if not pg_try_advisory_xact_lock(auth_reconciler.key_class() + 1, 0) then
        return;
    end if;
    delete from auth_reconciler.transition as t
    where t.id = any (array(
        select old.id
        from auth_reconciler.transition as old
        where old.at < clock_timestamp() - prune.max_age
        order by old.at
        limit 10
    ));
    delete from auth_reconciler.journal as j
    where j.id = any (array(
        select old.id
        from auth_reconciler.journal as old
        where old.at < clock_timestamp() - prune.max_age
        order by old.at
        limit 30
    ));
end
$body$;

comment on function auth_reconciler.prune(integer, uuid, integer, interval) is
    'Keeps the history of an instance within its count, and takes some of what is too old with it.';
