(
    -- Those that are asked for, each with its place; and of the one table that is served those that are taken from the log,
    -- each with how many changes of the oldest were walked for it: $3, $4, $5 as in take.sql, $6: those under way. What was
    -- seen of the log stands beside each, and alone where there is none. Few steps, for each is paid with every read: what
    -- can be told from these is not asked of the server.
    select i.instance_id, i.place, i.walked, l.first_unread, l.last_id, l.snapshot, l.unlisted
    from (
        select
            -- Where the walks begin, so that what lies before it, answered for and not yet cleared away, is passed once.
            (
                select c.id
                from auth_reconciler.change as c
                where c.watched_id = $1 and + c.id > $3::bigint and not c.put_off and c.instance_id is not null
                order by + c.id
                limit 1
            ) as first_unread,
            -- As of now, not as of the snapshot: whoever has drawn one up to it is in the snapshot of the next read, as one
            -- that has ended or as one in progress.
            coalesce(pg_sequence_last_value('auth_reconciler.change_id_seq'), 0) as last_id,
            pg_current_snapshot()::text as snapshot,
            -- A snapshot lists none that began after the last one that has ended: so many have been given an id since. The
            -- age is counted from the next id that is given out, and takes none.
            age(pg_snapshot_xmax(pg_current_snapshot())::xid) as unlisted
    ) as l
    left join lateral (
        select a.id as instance_id, a.place, 0::bigint as walked
        from unnest($2::uuid[]) with ordinality as a (id, place)
        union all
        select m.instance_id, null, count(*) filter (where m.is_old)
        from (
            (
                select c.instance_id, true as is_old
                from auth_reconciler.change as c
                where c.watched_id = $1 and + c.id >= l.first_unread and not c.put_off and c.instance_id is not null
                    and c.instance_id <> all ($2) and c.instance_id <> all ($6::uuid[])
                order by + c.id
                limit $4::bigint
            )
            union all
            (
                select c.instance_id, false
                from auth_reconciler.change as c
                where c.watched_id = $1 and + c.id >= l.first_unread and not c.put_off and c.instance_id is not null
                    and c.instance_id <> all ($2) and c.instance_id <> all ($6::uuid[])
                order by + c.id desc
                limit $5::bigint
            )
        ) as m
        group by m.instance_id
    ) as i on true
) as wanted