-- Begins a new epoch ($1) for the session that holds the leadership lock: the number of the term, and whether the session has
-- the sleeper's lock now.
select t.term, coalesce(current_setting('auth_reconciler.sleeps', true) = 'yes', false) as has_sleeper_lock
from auth_reconciler.take_over($1::uuid) as t (term)
