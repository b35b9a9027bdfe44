-- The view problems begins with what is not well, which is little as a rule.
create index instance_odd_idx on auth_reconciler.instance (watched_id, instance_id)
    where auth_status is distinct from 'client_ready' or contested > 0;
comment on index auth_reconciler.instance_odd_idx is
    'Those that are not recorded as ready, or are contested. Read by the views problems and drift.';
