-- A process that stands by asks every few seconds which look is overdue.
create index instance_due_idx on auth_reconciler.instance (watched_id, next_attempt_at) where not settled;
comment on index auth_reconciler.instance_due_idx is
    'By when they are looked at again, of those that are not final. Read by a process that stands by.';
