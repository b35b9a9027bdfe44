-- Who writes auth_status beside us.

create or replace view auth_reconciler.drift_details as
select
    w.instance_id as id,
    w.contested,
    -- Only what is read of it is put in words.
    auth_reconciler.legible(w.application) as application,
    auth_reconciler.legible(w.role) as role,
    auth_reconciler.legible(w.from_status) as from_status,
    auth_reconciler.legible(w.to_status) as to_status,
    w.times,
    w.guarded,
    auth_reconciler.age_of(w.last_at) as age,
    w.last_at,
    w.since
from (
    -- Each begins with the tables, of which there are few: so one instance is found along the indexes, which begin with them.
    with unanswered as not materialized (
        select
            c.watched_id, c.instance_id, auth_reconciler.kind_of(c.application, c.role, c.from_status, c.to_status) as kind,
            min(c.application) as application, min(c.role) as role, min(c.from_status) as from_status,
            min(c.to_status) as to_status, count(*) as times, count(*) filter (where c.kept) as guarded,
            min(c.changed_at) as first_at, max(c.changed_at) as last_at
        from auth_reconciler.watched_table as t
        join auth_reconciler.change as c on c.watched_id = t.id
        where c.cause = 'drift'
        group by 1, 2, 3
    )
    select e.*, i.instance_id is not null as contested
    from (
        select
            f.watched_id, f.instance_id, f.application, f.role, f.from_status, f.to_status,
            f.times + coalesce(u.times, 0) as times, f.guarded + coalesce(u.guarded, 0) as guarded, f.first_at as since,
            greatest(f.last_at, u.last_at) as last_at
        from auth_reconciler.watched_table as t
        join auth_reconciler.foreign_write as f on f.watched_id = t.id
        left join unanswered as u on u.watched_id = f.watched_id and u.instance_id = f.instance_id and u.kind = f.kind
        union all
        select
            u.watched_id, u.instance_id, u.application, u.role, u.from_status, u.to_status, u.times, u.guarded, u.first_at,
            u.last_at
        from unanswered as u
        where not exists (
            select
            from auth_reconciler.foreign_write as f
            where f.watched_id = u.watched_id and f.instance_id = u.instance_id and f.kind = u.kind
        )
    ) as e
    left join auth_reconciler.instance as i
        on i.watched_id = e.watched_id and i.instance_id = e.instance_id and i.contested > 0
    order by i.instance_id is not null desc, e.last_at desc
) as w;

comment on view auth_reconciler.drift_details is
    'Everything that is known of each foreign write, for programs and \x: who wrote auth_status beside us, from what to what and how often; contested instances first. Forgotten when it has not happened for as long as history is kept.';
comment on column auth_reconciler.drift_details.id is 'The instance.';
comment on column auth_reconciler.drift_details.contested is 'Somebody keeps writing it faster than the budget of corrections.';
comment on column auth_reconciler.drift_details.application is 'application_name of the session that wrote.';
comment on column auth_reconciler.drift_details.role is 'Role of that session; with "as" and another where it had set one.';
comment on column auth_reconciler.drift_details.from_status is 'What the column said before.';
comment on column auth_reconciler.drift_details.to_status is 'What was written.';
comment on column auth_reconciler.drift_details.times is 'How often.';
comment on column auth_reconciler.drift_details.guarded is 'How many of these guard put aside, so that nobody ever read them.';
comment on column auth_reconciler.drift_details.age is 'How long ago the last time was.';
comment on column auth_reconciler.drift_details.last_at is 'When the last time was.';
comment on column auth_reconciler.drift_details.since is 'When the first of these times was.';

create or replace view auth_reconciler.drift as
select
    d.id,
    d.times,
    d.age,
    auth_reconciler.fold(coalesce(nullif(d.application, ''), '(nameless)') || coalesce(' (' || d.role || ')', ''), 16) as writer,
    auth_reconciler.fold(
        format(
            '%s to %s%s%s', coalesce(d.from_status, 'null'), coalesce(d.to_status, 'null'),
            case when d.guarded > 0 then format('; guard put %s aside', d.guarded) else '' end,
            case when d.contested then '; contested' else '' end), 20) as wrote
from auth_reconciler.drift_details as d;

comment on view auth_reconciler.drift is
    'Who wrote auth_status beside us, from what to what and how often; contested instances first. Forgotten when it has not happened for as long as history is kept. Each in a column of its own: drift_details.';
comment on column auth_reconciler.drift.id is 'The instance.';
comment on column auth_reconciler.drift.times is 'How often.';
comment on column auth_reconciler.drift.age is 'How long ago the last time was.';
comment on column auth_reconciler.drift.writer is 'application_name of the session that wrote, and its role; with "as" and another where it had set one.';
comment on column auth_reconciler.drift.wrote is
    'From what to what; how many of these writes guard put aside, so that nobody ever read them; contested: somebody keeps writing faster than the budget of corrections.';

create or replace view auth_reconciler.drift_total as
select coalesce(sum(w.times), 0)::bigint as times, coalesce(sum(w.guarded), 0)::bigint as guarded
from (
    select f.watched_id, f.times, f.guarded from auth_reconciler.foreign_write as f
    union all
    select c.watched_id, 1, case when c.kept then 1 else 0 end from auth_reconciler.change as c where c.cause = 'drift'
) as w
where w.watched_id in (select t.id from auth_reconciler.watched_table as t);

comment on view auth_reconciler.drift_total is 'How often somebody else wrote auth_status: drift, added up.';
comment on column auth_reconciler.drift_total.times is 'How often.';
comment on column auth_reconciler.drift_total.guarded is 'How many of these guard put aside, so that nobody ever read them.';
