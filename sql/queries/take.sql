-- What a read takes from the change log, of any number of tables and without touching one: instances with changes that no look
-- has read yet, the oldest ones and the newest ones, each once; and what was seen of the log. $1: the tables; $2 and $6: as
-- pairs, instances that are left out, for they are asked for or under way; $3: after which number the walk begins; $4 and $5:
-- how many of the oldest and of the newest.
--
-- The numbers have a plus before them, as in the index on what is unread, and so in no other: that one is walked, whatever
-- was known of the log when this was planned, and nothing is sorted.
with served as materialized (
    select
        t.watched_id,
        array(
            select l.id from unnest($2::integer[], $6::uuid[]) as l (watched_id, id) where l.watched_id = t.watched_id
        ) as left_out
    from unnest($1::integer[]) as t (watched_id)
),
-- Where the walks begin. What lies before it, answered for and not yet cleared away, is passed once.
first as materialized (
    select s.watched_id, s.left_out, f.id
    from served as s
    cross join lateral (
        select c.id
        from auth_reconciler.change as c
        where c.watched_id = s.watched_id and + c.id > $3::bigint and not c.put_off and c.instance_id is not null
        order by + c.id
        limit 1
    ) as f
),
-- An instance may have many: those of one are read together, so what is walked beyond four for each is left to the next.
oldest as materialized (
    select c.watched_id, c.instance_id, c.id
    from first as f
    cross join lateral (
        select c.watched_id, c.instance_id, c.id
        from auth_reconciler.change as c
        where c.watched_id = f.watched_id and + c.id >= f.id and not c.put_off and c.instance_id is not null
            and c.instance_id <> all (f.left_out)
        order by + c.id
        limit 4 * $4::bigint + 1
    ) as c
),
newest as materialized (
    select c.watched_id, c.instance_id, c.id
    from first as f
    cross join lateral (
        select c.watched_id, c.instance_id, c.id
        from auth_reconciler.change as c
        where c.watched_id = f.watched_id and + c.id >= f.id and not c.put_off and c.instance_id is not null
            and c.instance_id <> all (f.left_out)
        order by + c.id desc
        limit 4 * $5::bigint
    ) as c
),
taken as materialized (
    (
        select o.watched_id, o.instance_id
        from oldest as o
        group by o.watched_id, o.instance_id
        order by min(o.id)
        limit $4
    )
    union
    (
        select n.watched_id, n.instance_id
        from newest as n
        group by n.watched_id, n.instance_id
        order by max(n.id) desc
        limit $5
    )
)
-- A row for each instance with the numbers of its unread changes, and one without for what was seen.
select
    t.watched_id, t.instance_id,
    array(
        select of_one.id
        from (
            -- By itself, so that it is not looked for along all that is unread.
            select c.id, c.put_off
            from auth_reconciler.change as c
            where c.watched_id = t.watched_id and c.instance_id = t.instance_id
            offset 0
        ) as of_one
        where not of_one.put_off
    ) as unread_ids,
    null::boolean as more, null::bigint as first_unread, null::bigint as last_id, null::text as snapshot,
    null::integer as unlisted
from taken as t
union all
select
    null, null, null,
    -- The walk was ended before all were met, or some of them were not taken.
    exists (select from oldest as o group by o.watched_id having count(*) > 4 * $4)
        or (select count(*) from (select distinct o.watched_id, o.instance_id from oldest as o) as met)
            > (select count(*) from taken),
    (select min(f.id) from first as f),
    -- See wanted.sql.
    coalesce(pg_sequence_last_value('auth_reconciler.change_id_seq'), 0),
    pg_current_snapshot()::text,
    age(pg_snapshot_xmax(pg_current_snapshot())::xid)
