-- What 0004_evidence_and_trust does to the tables that the manager's triggers write and read: last, and with a short
-- lock. Columns are only added, nullable and without a default that would rewrite a row; instance comes before change.

-- Evidence: whether a verdict stands on an answer or the engine's word, and how often somebody else wrote.
alter table auth_reconciler.instance
    add column established boolean,
    add column foreign_at timestamptz[];

comment on column auth_reconciler.instance.established is
    'Whether an answer of the API, the engine''s word or misses with a witness stand behind the verdict. One that merely repeats what somebody else wrote is not established. Null in what an earlier version recorded.';
comment on column auth_reconciler.instance.foreign_at is
    'When the last looks found foreign writes of auth_status, the newest first, 13 at most: more than 12 within an hour are a slow fight, which is told.';

-- By what our triggers know our own write.
alter table auth_reconciler.instance add column writing text;

comment on column auth_reconciler.instance.writing is
    'The auth_status that the transaction of a record is writing; always null where anybody else can see it.';

comment on column auth_reconciler.instance.attempts is
    'Steps of the backoff since it was last final or began anew: its exponent. A look counts for one, for three where the output of its container is followed.';
