-- Whether our own functions and views are still what `migrate` made: somebody may have dropped or replaced one by hand, or
-- restored a part. From the catalog alone; the body is the query with which daemon, doctor and migrate ask, who do
-- not trust the functions that they ask about.

create or replace function auth_reconciler.altered_routines(made text)
returns table (problem text, why text, names text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $body$
