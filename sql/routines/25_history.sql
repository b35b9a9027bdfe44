-- What is kept of what happened. Written and pruned in the transaction of a record or not at all: a quiet
-- fleet costs nothing, and without a daemon nothing but the change log grows.

create or replace function auth_reconciler.act_of(cause text, kept boolean) returns text
language sql
immutable
return case when kept then 'guarded' when cause in ('drift', 'operator') then cause else 'change' end;

comment on function auth_reconciler.act_of(text, boolean) is 'What a change is called in the journal.';

create or replace function auth_reconciler.kind_of(application text, role text, from_status text, to_status text) returns bigint
language sql
immutable
-- As in 0009_foreign_writes.sql.
return hash_record_extended(row (application, role, from_status, to_status), 0);

comment on function auth_reconciler.kind_of(text, text, text, text) is
    'Who wrote auth_status beside us and what, as one number: null is a value like any other, and any length will do.';

create or replace function auth_reconciler.count_foreign_writes(written auth_reconciler.foreign_write[]) returns void
language sql
-- A role that may record needs no right of its own for it.
security definer
set search_path = pg_catalog, pg_temp
as $body$
    insert into auth_reconciler.foreign_write as known
        (watched_id, instance_id, kind, application, role, from_status, to_status, times, guarded, first_at, last_at)
    select
        w.watched_id, w.instance_id, w.kind, min(w.application), min(w.role), min(w.from_status), min(w.to_status),
        sum(w.times), sum(w.guarded), min(w.first_at), max(w.last_at)
    from unnest(written) as w
    group by w.watched_id, w.instance_id, w.kind
    on conflict on constraint foreign_write_pkey do update
    set times = known.times + excluded.times, guarded = known.guarded + excluded.guarded,
        last_at = greatest(known.last_at, excluded.last_at)
$body$;

comment on function auth_reconciler.count_foreign_writes(auth_reconciler.foreign_write[]) is
    'Counts writes of auth_status by somebody else that looks have answered for, with those of the same kind before. Call it with the keys locked, so that nobody waits for another one''s row.';

create or replace function auth_reconciler.answer_alike(
    watched_id integer, changes bigint[], out instance_ids uuid[], out noticed_at timestamptz[]
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
#variable_conflict use_column
declare
    written auth_reconciler.foreign_write[];
begin
    with answered as (
        delete from auth_reconciler.change as c where c.id = any (answer_alike.changes) returning c.*
    ),
    alike as (
        select
            a.instance_id, max(a.changed_at) as at,
            auth_reconciler.act_of(a.cause, a.kept) as act,
            a.cause, count(*) as times, min(a.changed_at) as first_at, a.from_status, a.to_status, a.note, a.application,
            a.role, a.kept, max(a.id) as last,
            row_number() over (partition by a.instance_id order by max(a.id) desc) as place
        from answered as a
        -- Those alike are one entry: a mad writer fills no history.
        group by a.instance_id, a.cause, a.kept, a.from_status, a.to_status, a.note, a.application, a.role
    ),
    told as (
        insert into auth_reconciler.journal
            (watched_id, instance_id, at, act, cause, times, first_at, from_status, to_status, message, application, role)
        select
            answer_alike.watched_id, n.instance_id, n.at, n.act, n.cause, n.times, n.first_at, n.from_status,
            n.to_status, n.note, n.application, n.role
        from alike as n
        where n.place <= 20
        order by n.last desc
    ),
    -- Also of those that are no entry; but somebody may write another value each time.
    foreign_writes as (
        select array_agg(row (
            answer_alike.watched_id, n.instance_id,
            auth_reconciler.kind_of(n.application, n.role, n.from_status, n.to_status),
            n.application, n.role, n.from_status, n.to_status, n.times, case when n.kept then n.times else 0 end, n.first_at,
            n.at
        )::auth_reconciler.foreign_write) as kinds
        from alike as n
        where n.cause = 'drift' and n.place <= 100
    ),
    oldest as (
        select n.instance_id, min(n.first_at) as at from alike as n group by n.instance_id
    )
    select array_agg(o.instance_id), array_agg(o.at), (select f.kinds from foreign_writes as f)
    into instance_ids, noticed_at, written
    from oldest as o;
    if written is not null then
        perform auth_reconciler.count_foreign_writes(written);
    end if;
end
$body$;

comment on function auth_reconciler.answer_alike(integer, bigint[]) is
    'answer_changes() where some instance has more than one of them.';

create or replace function auth_reconciler.answer_changes(
    watched_id integer, changes bigint[], single boolean, out instance_ids uuid[], out noticed_at timestamptz[]
)
-- Not in the language SQL, of which each call would be planned anew.
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
#variable_conflict use_column
declare
    -- Mostly null: then nothing is even called for it.
    written auth_reconciler.foreign_write[];
begin
    if changes = '{}' then
        return;
    end if;
    if not single then
        select t.* into instance_ids, noticed_at
        from auth_reconciler.answer_alike(answer_changes.watched_id, answer_changes.changes) as t;
        return;
    end if;
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
    select
        array_agg(a.instance_id), array_agg(a.changed_at),
        array_agg(row (
            answer_changes.watched_id, a.instance_id,
            auth_reconciler.kind_of(a.application, a.role, a.from_status, a.to_status),
            a.application, a.role, a.from_status, a.to_status, 1, case when a.kept then 1 else 0 end, a.changed_at, a.changed_at
        )::auth_reconciler.foreign_write) filter (where a.cause = 'drift')
    into instance_ids, noticed_at, written
    from answered as a;
    if written is not null then
        perform auth_reconciler.count_foreign_writes(written);
    end if;
end
$body$;

comment on function auth_reconciler.answer_changes(integer, bigint[], boolean) is
    'Takes the changes that looks have read out of the log and notes them in the journal, those alike of an instance as one entry, and counts those by which somebody else wrote auth_status. single: no instance has two of them. Returns the instances that had any, with the time of the oldest of each. Call it behind the fence.';

create or replace function auth_reconciler.forget_foreign_writes(thinned auth_reconciler.journal[], oldest timestamptz)
returns void
language sql
set search_path = pg_catalog, pg_temp
as $body$
    -- There is an entry of each last write of a kind, or later ones of that instance have taken its place: so there is no
    -- other time at which they become too old, and no index by time is needed. A row that somebody counts up is not too old.
    delete from auth_reconciler.foreign_write as f
    where f.ctid = any (array(
        select old.ctid
        from (select distinct t.watched_id, t.instance_id from unnest(thinned) as t) as place
        -- Each is looked up for itself, see fence().
        cross join lateral (
            select w.ctid
            from auth_reconciler.foreign_write as w
            where w.watched_id = place.watched_id and w.instance_id = place.instance_id and w.last_at < oldest
            offset 0
            for update skip locked
        ) as old
    ))
$body$;

comment on function auth_reconciler.forget_foreign_writes(auth_reconciler.journal[], timestamptz) is
    'Of the instances of these entries of the journal, which were too old, forgets who last wrote auth_status as long ago.';

create or replace function auth_reconciler.prune_instance(
    watched_id integer, instance_id uuid, per_instance integer, most integer
) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
begin
    -- In the order of an index that has all of it, or all entries are walked in that of their numbers where the tables were
    -- small when this was planned.
    delete from auth_reconciler.transition as t
    where t.id = any (array(
        select old.id
        from auth_reconciler.transition as old
        where old.watched_id = prune_instance.watched_id and old.instance_id = prune_instance.instance_id and old.id <= (
            select kept.id
            from auth_reconciler.transition as kept
            where kept.watched_id = prune_instance.watched_id and kept.instance_id = prune_instance.instance_id
            order by kept.watched_id desc, kept.instance_id desc, kept.id desc
            offset prune_instance.per_instance limit 1
        )
        order by old.watched_id, old.instance_id, old.id
        limit most
        for update skip locked
    ));
    delete from auth_reconciler.journal as j
    where j.id = any (array(
        select old.id
        from auth_reconciler.journal as old
        where old.watched_id = prune_instance.watched_id and old.instance_id = prune_instance.instance_id and old.id <= (
            select kept.id
            from auth_reconciler.journal as kept
            where kept.watched_id = prune_instance.watched_id and kept.instance_id = prune_instance.instance_id
            order by kept.watched_id desc, kept.instance_id desc, kept.id desc
            offset prune_instance.per_instance limit 1
        )
        order by old.watched_id, old.instance_id, old.id
        limit most
        for update skip locked
    ));
    delete from auth_reconciler.foreign_write as f
    where f.ctid = any (array(
        select old.ctid
        from auth_reconciler.foreign_write as old
        where old.watched_id = prune_instance.watched_id and old.instance_id = prune_instance.instance_id
        order by old.last_at desc
        -- As many as those looks can add that one prune stands for.
        offset prune_instance.per_instance limit 16 * 100
        for update skip locked
    ));
end
$body$;

comment on function auth_reconciler.prune_instance(integer, uuid, integer, integer) is
    'Keeps the history of an instance within its count. most: how many entries of a kind are taken at most.';

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
    thinned auth_reconciler.journal[];
begin
    -- One by one, see fence().
    foreach pruned in array instances loop
        perform auth_reconciler.prune_instance(prune.watched_id, pruned, prune.per_instance, most);
    end loop;
    -- Some old ones of any instance go with them, more than so many looks can add, so the whole shrinks by
    -- itself, and no more at once than takes a moment. One at a time: the others must neither wait for it nor meet it in
    -- another order.
    if count = 0 or not pg_try_advisory_xact_lock(auth_reconciler.bell_class(), auth_reconciler.prune_lock()) then
        return;
    end if;
    delete from auth_reconciler.transition as t
    where t.id = any (array(
        select old.id from auth_reconciler.transition as old where old.at < oldest order by old.at limit least(10 * count, most)
        for update skip locked
    ));
    with gone as (
        delete from auth_reconciler.journal as j
        where j.id = any (array(
            select old.id from auth_reconciler.journal as old where old.at < oldest order by old.at limit least(30 * count, 2 * most)
            for update skip locked
        ))
        returning j.*
    )
    select array_agg(g) into thinned from gone as g;
    if thinned is not null then
        perform auth_reconciler.forget_foreign_writes(thinned, oldest);
    end if;
end
$body$;

comment on function auth_reconciler.prune(integer, uuid[], integer, interval, integer) is
    'Keeps the history of instances within its count, and takes some of what is too old with it. looks: how many looks may have added to it for each of them.';
