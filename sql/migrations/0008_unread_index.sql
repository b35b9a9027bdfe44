-- What no look has read yet, in its order. A statement of its own, outside any transaction: nobody's write waits for it.
create index concurrently if not exists change_unread_idx on auth_reconciler.change (watched_id, (+ id))
    where not put_off and instance_id is not null
