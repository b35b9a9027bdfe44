select pg_catalog.to_regclass('auth_reconciler.migration') is not null
