-- Whether our own tables are still what the migrations made. The body is the query with which daemon and doctor ask.

create or replace function auth_reconciler.altered_tables()
returns table (problem text, why text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $body$
