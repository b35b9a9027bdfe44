select
    pg_catalog.current_setting('server_version') as server_version,
    pg_catalog.current_database()::text as database,
    current_user::text as role,
    coalesce((select s.ssl from pg_catalog.pg_stat_ssl as s where s.pid = pg_catalog.pg_backend_pid()), false) as tls
