-- Words for people, as the views and explain() use them.

create or replace function auth_reconciler.fold(words text, width integer) returns text
language sql
immutable
return btrim(
    regexp_replace(
        -- A word that is longer, as an address may be, is broken where the line ends.
        regexp_replace(words, format('(\S{%s})(?=\S)', width), '\1 ', 'g'),
        format('(.{1,%s})(\s+|$)', width), E'\\1\n', 'g'),
    E'\n');

comment on function auth_reconciler.fold(text, integer) is
    'Breaks a sentence into lines of at most this width, so that psql shows it beside other columns.';

create or replace function auth_reconciler.age_of(since timestamptz) returns interval
language sql
stable
-- As narrow as it says enough: what began days ago need not be told to the second.
return case when now() - since < interval '100 hours'
    then make_interval(secs => floor(extract(epoch from now() - since))::double precision)
    else date_trunc('day', now() - since) end;

comment on function auth_reconciler.age_of(timestamptz) is
    'Time since then: below 100 hours in hours, minutes and seconds, from there on in whole days.';

create or replace function auth_reconciler.message_of(
    message text, foreign_at timestamptz[], paused_by text, pause_reason text
) returns text
language sql
stable
return case
    when paused_by is not null then auth_reconciler.legible(format('paused by %s: %s', paused_by, pause_reason))
    when foreign_at[13] > now() - interval '1 hour' then
        message || '; somebody else wrote its status more than 12 times within an hour: see the view drift'
    else message
end;

comment on function auth_reconciler.message_of(text, timestamptz[], text, text) is
    'Why the status of an instance is as it is, for a person: what was recorded, and what has been the case since.';

create or replace function auth_reconciler.by_whom(application text, role text) returns text
language sql
immutable
return case when role is null then ''
    else format(' by %s (role %s)', coalesce(nullif(application, ''), 'a nameless application'), role) end;

comment on function auth_reconciler.by_whom(text, text) is 'Who wrote, in words.';

create or replace function auth_reconciler.change_words(
    act text, cause text, from_status text, to_status text, note text, application text, role text, times bigint
) returns text
language sql
immutable
return case
        when act = 'operator' then role || ' ' || coalesce(note, 'asked for a look')
        when act = 'guarded' then format(
            'guard kept auth_status %s when %s was written', coalesce(from_status, 'null'), coalesce(to_status, 'null'))
        when act = 'drift' then format(
            'auth_status %s was overwritten with %s', coalesce(from_status, 'null'), coalesce(to_status, 'null'))
        when cause = 'insert' then 'row inserted'
        when cause = 'delete' then 'row deleted'
        when cause = 'truncate' then 'table truncated'
        when cause = 'watch' then 'table watched from here on'
        when cause = 'resync' then 'looked for, because a change could not be logged'
        when cause = 'assigned' then 'api_key or account written again with the same value'
        else cause || ' changed'
    end
    || case when act = 'operator' then '' else auth_reconciler.by_whom(application, role) end
    || case when times > 1 then format(', %s times', times) else '' end;

comment on function auth_reconciler.change_words(text, text, text, text, text, text, text, bigint) is
    'One change of an instance, in words.';

create or replace function auth_reconciler.nobody_leads() returns boolean
language sql
stable
return not pg_is_in_recovery() and not exists (
    select
    from pg_locks as l
    join pg_stat_activity as a on a.pid = l.pid
    where l.locktype = 'advisory' and l.granted and l.objsubid = 1
        -- Any role may take any lock: who is none of ours leads nothing, see foreign_locks().
        and a.application_name like 'auth-reconciler ear %'
        and has_table_privilege(a.usesysid, 'auth_reconciler.leadership', 'insert')
        and l.database = (select d.oid from pg_database as d where d.datname = current_database())
        and (l.classid::bigint << 32 | l.objid::bigint) = auth_reconciler.leadership_lock()
);

comment on function auth_reconciler.nobody_leads() is
    'Whether no daemon holds the leadership lock of this database; false on a standby, where that cannot be seen.';

create or replace function auth_reconciler.next_words(
    paused boolean, leaderless boolean, waits boolean, contested boolean, next_attempt_at timestamptz
) returns text
language sql
stable
return case
    when paused then 'nothing until resume()'
    when leaderless then 'nothing: no daemon leads; start one, see reconcilers'
    when contested and next_attempt_at > now() then
        'corrected again in ' || date_trunc('second', next_attempt_at - now())
    when waits then 'a look is due now'
    when next_attempt_at > now() then 'looked at again in ' || date_trunc('second', next_attempt_at - now())
    when next_attempt_at is not null then 'a look is due now'
    else 'nothing until its row or container changes, or reconcile()'
end;

comment on function auth_reconciler.next_words(boolean, boolean, boolean, boolean, timestamptz) is
    'What happens next to an instance, in words.';
