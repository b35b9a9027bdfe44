-- Changes that could not be logged. The trigger counts them in a sequence, which no roll-back takes back; every row is
-- looked at when there are more of them than were answered for. A count may be seen before the change that it stands
-- for: so long as transactions run that may have counted, one more look at everything is owed when they have ended.

create or replace function auth_reconciler.unlogged_state(
    out owed boolean, out waits boolean, out counted bigint, out running_until text)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $body$
declare
    known auth_reconciler.unlogged_answered;
    seen pg_snapshot;
begin
    select u.last_value - case when u.is_called then 0 else 1 end into counted from auth_reconciler.unlogged as u;
    select * into known from auth_reconciler.unlogged_answered;
    -- After the count: whoever counted before it was read and still runs has a number below its end.
    select pg_current_snapshot() into seen;
    if counted is distinct from known.counted then
        owed := true;
        running_until := case when pg_snapshot_xmin(seen) < pg_snapshot_xmax(seen) then pg_snapshot_xmax(seen)::text end;
    elsif known.running_until <= pg_snapshot_xmin(seen) then
        -- Nobody has counted since, and all who may have before it have ended.
        owed := true;
    else
        owed := false;
        running_until := known.running_until::text;
    end if;
    waits := not owed and running_until is not null;
end
$body$;

comment on function auth_reconciler.unlogged_state() is
    'Whether every row is to be looked at because a change could not be logged, or will be when transactions that run now have ended; and what answered_unlogged() is told afterwards.';

create or replace function auth_reconciler.answered_unlogged(p_epoch uuid, p_counted bigint, p_running_until text)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $body$
begin
    perform from auth_reconciler.leadership as l where l.epoch = p_epoch for share;
    if not found then
        return false;
    end if;
    insert into auth_reconciler.unlogged_answered as u (counted, running_until)
    values (p_counted, p_running_until::xid8)
    on conflict on constraint unlogged_answered_pkey do update
        set counted = excluded.counted, running_until = excluded.running_until;
    return true;
end
$body$;

comment on function auth_reconciler.answered_unlogged(uuid, bigint, text) is
    'Notes that a change of every row was logged after unlogged_state() said so; false if the process of this epoch no longer leads.';
