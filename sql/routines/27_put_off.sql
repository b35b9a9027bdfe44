-- The change log is the queue: reads take from it, oldest and newest first, what no look has read yet. What a look has read
-- and could not answer for is put off, so that the reads that follow find what is new.

create or replace function auth_reconciler.put_off(p_epoch uuid, p_changes bigint[]) returns boolean
language plpgsql
-- Nobody but its owner may mark changes otherwise.
security definer
set search_path = pg_catalog, pg_temp
as $body$
begin
    -- As a record: a crash of the server ends the epoch, and its successor begins with what was put off or reads it.
    perform set_config('synchronous_commit', 'off', true);
    -- A process that leads no longer must not hide from its successor what it remembers.
    if auth_reconciler.enter_gate() is distinct from p_epoch then
        return false;
    end if;
    -- What somebody is answering for needs no mark, and nobody is waited for.
    update auth_reconciler.change as c
    set put_off = true
    where c.id = any (array(
        select f.id
        from auth_reconciler.change as f
        where f.id = any (put_off.p_changes) and not f.put_off
        for update skip locked
    ));
    return true;
end
$body$;

comment on function auth_reconciler.put_off(uuid, bigint[]) is
    'Marks changes that the process of this epoch has read and will look at again by itself; false if it no longer leads.';

comment on index auth_reconciler.change_unread_idx is
    'What no look has read yet, in its order; read by every look. By an expression, so that no other index serves for it and each look finds it.';
