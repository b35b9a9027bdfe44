-- The story of one instance.

create or replace function auth_reconciler.explain(instance_id uuid)
returns table (at timestamptz, act text, what text)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $body$
-- The names of the result are names of columns, too.
#variable_conflict use_column
begin
    return query
    with told (at, place, act, what) as (
        select
            j.at, 1, j.act,
            case
                when j.act = 'gone' then 'the row is gone, so the instance is forgotten'
                when j.act = 'verdict' then format(
                    'looked because of %s: %s, %s: %s', j.cause, coalesce(j.to_status, 'hands off'), j.reason, j.message)
                else auth_reconciler.change_words(
                    j.act, j.cause, j.from_status, j.to_status, j.message, j.application, j.role, j.times)
            end
        from auth_reconciler.journal as j
        where j.instance_id = explain.instance_id
            and exists (select from auth_reconciler.watched_table as w where w.id = j.watched_id)
        union all
        select
            t.at, 2, case when t.cause = 'drift' then 'correction' else 'transition' end,
            format(
                '%s auth_status from %s to %s, %s ms after %s: %s: %s',
                case when t.cause = 'drift' then 'corrected' else 'moved' end,
                coalesce(t.from_status, 'null'), coalesce(t.to_status, 'null'),
                round(t.reaction_ms::numeric, 1), t.cause, t.reason, t.message)
        from auth_reconciler.transition as t
        where t.instance_id = explain.instance_id
            and exists (select from auth_reconciler.watched_table as w where w.id = t.watched_id)
        union all
        select
            c.changed_at, 3, 'waits',
            auth_reconciler.change_words(
                case when c.kept then 'guarded' when c.cause in ('drift', 'operator') then c.cause else 'change' end,
                c.cause, c.from_status, c.to_status, c.note, c.application, c.role, 1)
            || '; no look has answered for it yet'
        from auth_reconciler.change as c
        where c.instance_id = explain.instance_id
            and exists (select from auth_reconciler.watched_table as w where w.id = c.watched_id)
        union all
        select
            now(), 4, 'now',
            format(
                'auth_status is %s; %s%s; %s looks so far; next: %s',
                coalesce(r.auth_status, 'null'), coalesce(
                    case when p.paused_by is null then i.reason else 'Paused' end || ': '
                        || auth_reconciler.message_of(i.message, i.foreign_at, p.paused_by, p.reason),
                    'not looked at yet'),
                case when is_now.contested then '; contested: somebody keeps writing other values, see drift' else '' end,
                coalesce(i.looks, 0),
                auth_reconciler.next_words(
                    p.paused_by is not null, auth_reconciler.nobody_leads(), is_now.waits, is_now.contested, i.next_attempt_at))
        from auth_reconciler.rows_of(explain.instance_id) as r
        left join auth_reconciler.instance as i on i.watched_id = r.watched_id and i.instance_id = explain.instance_id
        left join auth_reconciler.pause as p on p.watched_id = r.watched_id and p.instance_id = explain.instance_id
        cross join lateral (
            select
                p.paused_by is null and coalesce(i.contested, 0) > 0 as contested,
                exists (
                    select
                    from auth_reconciler.change as c
                    where c.watched_id = r.watched_id and c.instance_id = explain.instance_id
                ) as waits
        ) as is_now
    )
    select date_trunc('milliseconds', t.at), t.act, auth_reconciler.fold(auth_reconciler.legible(t.what), 56)
    from told as t
    order by case when t.place = 4 then 1 else 0 end, t.at, t.place;
    -- Of one that is there something is always told; nothing would read as if nothing had happened to it.
    if not found then
        raise exception 'no watched table has an instance %, and nothing is kept of one', coalesce(explain.instance_id::text, 'null')
            using errcode = 'no_data_found', hint = 'The view status lists the instances of all watched tables.';
    end if;
end
$body$;

comment on function auth_reconciler.explain(uuid) is
    'What happened to an instance, oldest first, in words, broken into lines: changes of its row and who made them, looks that told something, corrections, writes that guard put aside, what operators did, what waits, and what is the case now. As far back as history is kept; looks by the clock that found the same once more are in the number of looks only. An error if there is no such instance.';
