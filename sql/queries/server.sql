select
    pg_catalog.pg_is_in_recovery() as in_recovery,
    pg_catalog.current_setting('max_prepared_transactions')::integer as max_prepared_transactions,
    pg_catalog.current_setting('synchronous_standby_names') as synchronous_standby_names,
    pg_catalog.current_setting('max_connections')::bigint
        - (select count(*) from pg_catalog.pg_stat_activity as a where a.backend_type = 'client backend')
        as free_connections
