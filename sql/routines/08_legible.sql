-- Text that is none. In a database of encoding SQL_ASCII a column holds whatever bytes somebody wrote, in others a
-- character may have no equivalent in UTF-8; the server then refuses to send the whole result. So what others wrote
-- is made legible before it leaves: one row is marked, and the rest is seen.

create or replace function auth_reconciler.escaped(value text) returns text
language plpgsql
stable
strict
set search_path = pg_catalog, pg_temp
as $body$
begin
    perform convert_to(value, 'UTF8');
    return value;
exception when character_not_in_repertoire or untranslatable_character then
    return encode(convert_to(value, getdatabaseencoding()), 'escape') || ' (bytes that are no text)';
end
$body$;

comment on function auth_reconciler.escaped(text) is
    'The value, or, where it cannot be sent as UTF-8, its bytes with those beyond ASCII in octal, and a mark. Call legible() instead.';

create or replace function auth_reconciler.legible(value text) returns text
language sql
stable
-- Without settings of its own, so that it is nothing but its condition where all text is text.
return case when getdatabaseencoding() = 'UTF8' then value else auth_reconciler.escaped(value) end;

comment on function auth_reconciler.legible(text) is
    'The value if it is text, else its bytes, marked.';
