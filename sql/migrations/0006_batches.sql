-- Verdicts are recorded in batches.

create type auth_reconciler.proposal as (
    verdict auth_reconciler.instance,
    changes bigint[],
    woken_ms double precision,
    retry_ms double precision,
    trouble_ms double precision,
    unwritable_retry_ms double precision,
    outcome text,
    known auth_reconciler.instance,
    status text,
    writes boolean,
    written text,
    told text,
    from_status text,
    reaction_ms double precision
);

comment on type auth_reconciler.proposal is
    'A verdict that is to be recorded, everything that it was computed from, and what becomes of it. No table holds any.';
comment on column auth_reconciler.proposal.verdict is
    'The row of the instance as it is to be; its version is the one that was read, null if there was none.';
comment on column auth_reconciler.proposal.changes is 'Numbers of the changes that were read.';
comment on column auth_reconciler.proposal.woken_ms is 'Time since the look was woken, in milliseconds.';
comment on column auth_reconciler.proposal.retry_ms is 'When to look again without an event; null if it is final.';
comment on column auth_reconciler.proposal.trouble_ms is 'After what time it counts as in trouble; null is never.';
comment on column auth_reconciler.proposal.unwritable_retry_ms is 'When to try again should the table refuse the status.';
comment on column auth_reconciler.proposal.outcome is 'What became of it, see record_batch(); null while that is open.';
comment on column auth_reconciler.proposal.known is 'Our row as it is before the record.';
comment on column auth_reconciler.proposal.status is
    'auth_status of the watched row before the record; at first as it was read, which only tells whether it will be written.';
comment on column auth_reconciler.proposal.writes is 'Whether the watched row is locked, to be written.';
comment on column auth_reconciler.proposal.written is 'auth_status of the watched row after the write; null if it was stopped.';
comment on column auth_reconciler.proposal.told is 'Where it is told: transition, journal; null is nowhere.';
comment on column auth_reconciler.proposal.from_status is 'What the column, or else the verdict, was before.';
comment on column auth_reconciler.proposal.reaction_ms is 'Time from the cause to the record, in milliseconds.';
