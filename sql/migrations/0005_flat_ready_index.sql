-- While an instance is silent, some of those that count as ready are asked for their word.
create index instance_ready_idx on auth_reconciler.instance (watched_id, misses) where auth_status = 'client_ready';
comment on index auth_reconciler.instance_ready_idx is
    'Those that count as ready, the steadiest first. Read while another one is silent.';
