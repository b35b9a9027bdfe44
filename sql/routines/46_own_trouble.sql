-- What keeps the process that leads from knowing. Written when it begins, changes and ends, never by the clock.

create or replace function auth_reconciler.note_trouble(p_epoch uuid, p_problem text, p_detail text) returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $body$
begin
    perform set_config('synchronous_commit', 'off', true);
    -- Its share keeps a take-over waiting: nothing of an old epoch is written over a new one.
    perform from auth_reconciler.leadership as l where l.epoch = p_epoch for share;
    if not found then
        return false;
    end if;
    if p_detail is null then
        delete from auth_reconciler.own_trouble as o where o.problem = p_problem;
        return true;
    end if;
    insert into auth_reconciler.own_trouble as o (problem, epoch, since, detail)
    values (p_problem, p_epoch, clock_timestamp(), p_detail)
    on conflict on constraint own_trouble_pkey do update
        set epoch = excluded.epoch,
            since = case when o.epoch = excluded.epoch then o.since else excluded.since end,
            detail = excluded.detail;
    return true;
end
$body$;

comment on function auth_reconciler.note_trouble(uuid, text, text) is
    'Notes what keeps the process of this epoch from knowing, or with null that it has ended; false if it no longer leads.';

create or replace function auth_reconciler.own_troubles()
returns table (problem text, since timestamptz, detail text)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $body$
begin
    -- A standby cannot read unlogged tables; and what nobody leads to mend is said by nobody.
    if pg_is_in_recovery() or auth_reconciler.nobody_leads() then
        return;
    end if;
    return query
    select o.problem, o.since, o.detail
    from auth_reconciler.own_trouble as o
    join auth_reconciler.leadership as l on l.epoch = o.epoch
    order by o.since;
end
$body$;

comment on function auth_reconciler.own_troubles() is
    'What keeps the process that leads from knowing: part of the views problems and reconcilers.';
