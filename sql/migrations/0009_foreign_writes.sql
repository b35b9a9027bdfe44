-- Who wrote auth_status beside us is counted when a look answers for it: to add up all that is kept whenever somebody asks
-- takes the longer the more is kept.

create table auth_reconciler.foreign_write (
    watched_id integer not null,
    instance_id uuid not null,
    kind bigint not null,
    application text,
    role text,
    from_status text,
    to_status text,
    times bigint not null,
    guarded bigint not null,
    first_at timestamptz not null,
    last_at timestamptz not null,
    constraint foreign_write_pkey primary key (watched_id, instance_id, kind)
) with (
    -- A row is counted up again and again, which needs room beside it and no entry in the index.
    fillfactor = 80
);

comment on table auth_reconciler.foreign_write is
    'How often somebody else wrote auth_status: one row for each instance, writer and change of the value. Bounded per instance and by age, as history is. Read auth_reconciler.drift instead.';
comment on column auth_reconciler.foreign_write.watched_id is 'The table, see watched_table.';
comment on column auth_reconciler.foreign_write.instance_id is 'The row.';
comment on column auth_reconciler.foreign_write.kind is 'Who wrote and what, as one number: writes of one kind are counted together.';
comment on column auth_reconciler.foreign_write.application is 'application_name of the session that wrote.';
comment on column auth_reconciler.foreign_write.role is 'Role of that session; with "as" and another where it had set one.';
comment on column auth_reconciler.foreign_write.from_status is 'What auth_status was before.';
comment on column auth_reconciler.foreign_write.to_status is 'What was written.';
comment on column auth_reconciler.foreign_write.times is 'How often.';
comment on column auth_reconciler.foreign_write.guarded is 'How many of these guard put aside.';
comment on column auth_reconciler.foreign_write.first_at is 'When the first of them was made.';
comment on column auth_reconciler.foreign_write.last_at is 'When the last of them was made.';

-- What history holds of it; the hash is that of the function kind_of(), which is made later. What a process of the former
-- version notes before its epoch ends, in the same moment, is not counted.
insert into auth_reconciler.foreign_write
    (watched_id, instance_id, kind, application, role, from_status, to_status, times, guarded, first_at, last_at)
select
    j.watched_id, j.instance_id,
    pg_catalog.hash_record_extended(row (j.application, j.role, j.from_status, j.to_status), 0),
    j.application, j.role, j.from_status, j.to_status,
    sum(j.times), coalesce(sum(j.times) filter (where j.act = 'guarded'), 0), min(j.first_at), max(j.at)
from auth_reconciler.journal as j
where j.act in ('drift', 'guarded')
group by j.watched_id, j.instance_id, j.application, j.role, j.from_status, j.to_status;

-- What was pruned lies at the old end of the index by time, and each prune passes over it until it is vacuumed. By default
-- that is when a fifth of the table is dead, so it would take the longer the more is kept.
alter table auth_reconciler.transition set (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 20000);
alter table auth_reconciler.journal set (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 20000);
