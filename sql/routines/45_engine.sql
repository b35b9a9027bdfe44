-- Whether the process that leads sees its container engine. Written when that changes, never by the clock.

create or replace function auth_reconciler.note_engine(
    p_epoch uuid, p_address text, p_seen boolean, p_detail text
) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
begin
    perform set_config('synchronous_commit', 'off', true);
    -- Its share keeps a take-over waiting: nothing of an old epoch is written over a new one.
    perform from auth_reconciler.leadership as l where l.epoch = p_epoch for share;
    if not found then
        return false;
    end if;
    insert into auth_reconciler.engine as e (epoch, address, seen, since, detail)
    values (p_epoch, p_address, p_seen, clock_timestamp(), p_detail)
    on conflict on constraint engine_pkey do update
        set epoch = excluded.epoch,
            address = excluded.address,
            seen = excluded.seen,
            -- Out of sight since the first failure, not since the last one; a new leader begins anew.
            since = case
                when e.epoch = excluded.epoch and e.seen = excluded.seen and e.address = excluded.address
                then e.since else excluded.since end,
            detail = excluded.detail;
    return true;
end
$body$;

comment on function auth_reconciler.note_engine(uuid, text, boolean, text) is
    'Notes whether the process of this epoch sees its container engine; false if it no longer leads.';
