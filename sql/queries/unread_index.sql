-- Whether the index on what no look has read yet is whole; no row where there is none. One that is not whole was left behind
-- by a migrate that was ended, or another migrate is making it.
select i.indisvalid as whole
from pg_catalog.pg_index as i
where i.indexrelid = pg_catalog.to_regclass('auth_reconciler.change_unread_idx')
