-- Rights that a role lacks which reads a watched table and our schema. The body of this function is the query with which
-- doctor asks, who may not be allowed to call anything here: the two are one text.

create or replace function auth_reconciler.missing_rights(schema_name text, table_name text, reader name)
returns table (privilege text, remedy text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $body$
