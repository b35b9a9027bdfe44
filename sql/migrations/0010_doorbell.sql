-- The doorbell: see sql/routines/12_doorbell.sql, which gives this function its body.
create or replace function auth_reconciler.ring_for_change() returns trigger
language plpgsql
security definer
as $body$
begin
    perform pg_catalog.pg_notify('auth_reconciler', 'log');
    return null;
end
$body$;

revoke all on function auth_reconciler.ring_for_change() from public;
