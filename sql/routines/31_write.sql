-- The watched rows of a batch: who of them is locked, the write of their statuses, and what becomes of one that cannot succeed.

create or replace function auth_reconciler.prepared(purpose text, relation text, statement text) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    prepared_as constant text := purpose || '_' || to_hex(hashtext(relation));
    setting constant text := 'auth_reconciler.' || prepared_as;
    nothing text;
begin
    if current_setting(setting, true) = relation then
        return prepared_as;
    end if;
    -- What is prepared stays when a transaction is undone, and what was set does not. Of two tables with one hash each takes
    -- the place of the other.
    if exists (select from pg_prepared_statements as s where s.name = prepared_as) then
        execute format('deallocate %I', prepared_as);
    end if;
    execute format('prepare %I %s', prepared_as, statement);
    nothing := set_config(setting, relation, false);
    return prepared_as;
end
$body$;

comment on function auth_reconciler.prepared(text, text, text) is
    'Prepares a statement on a watched table, once in a session, and returns its name: to parse and plan it with each record costs more than to run it.';

create or replace function auth_reconciler.look_at_others(
    relation text, places integer[], tried auth_reconciler.proposal[], work auth_reconciler.proposal[]
) returns auth_reconciler.proposal[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    ids constant uuid[] := array(select (tried[o].verdict).instance_id from unnest(places) as o);
    statuses text[];
    present boolean[];
    place integer;
    verdict text;
    becomes text;
    as_expected boolean := true;
begin
    execute format(
        'execute %I (%L)',
        auth_reconciler.prepared('look', relation, format(
            '(uuid[]) as select array_agg(w.status order by p.place), array_agg(w.id is not null order by p.place) '
            'from unnest($1) with ordinality as p (id, place) left join lateral ('
            'select w.id, w.auth_status::text as status from %s as w where w.id = p.id offset 0) as w on true', relation)),
        ids)
        into statuses, present;
    for i in 1 .. cardinality(places) loop
        place := places[i];
        verdict := (tried[place].verdict).auth_status;
        becomes := case
            when not present[i] then 'gone'
            when tried[place].writes then case when statuses[i] is distinct from verdict then 'held' else 'right' end
            -- It changed since it was read, though nothing was logged: it is locked by the next try.
            when tried[place].outcome = 'right' and verdict is not null and statuses[i] is distinct from verdict
            then 'written'
            else tried[place].outcome end;
        if becomes <> tried[place].outcome then
            as_expected := false;
            work[place].outcome := becomes;
            work[place].status := statuses[i];
        end if;
    end loop;
    return case when not as_expected then work end;
end
$body$;

comment on function auth_reconciler.look_at_others(text, integer[], auth_reconciler.proposal[], auth_reconciler.proposal[]) is
    'The batch as it is to be tried again, if of those whose watched row was not locked, by their places, one is not as was expected: gone, right by now, held by somebody else, or other than when it was read.';

create or replace function auth_reconciler.lock_watched(
    relation text, tried auth_reconciler.proposal[], work auth_reconciler.proposal[]
) returns auth_reconciler.proposal[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    places integer[] := '{}';
    ids uuid[] := '{}';
    wanted text[] := '{}';
    others integer[] := '{}';
    locked uuid[];
    statuses text[];
    status text;
    as_expected boolean := true;
begin
    for place in 1 .. cardinality(tried) loop
        if tried[place].writes then
            places := places || place;
            ids := ids || (tried[place].verdict).instance_id;
            wanted := wanted || (tried[place].verdict).auth_status;
        elsif auth_reconciler.stands(tried[place].outcome) then
            others := others || place;
        end if;
    end loop;
    if ids <> '{}' then
        execute format(
            'execute %I (%L, %L)',
            auth_reconciler.prepared('lock', relation, format(
                '(uuid[], text[]) as select array_agg(l.id), array_agg(l.status) from ('
                'select w.id, w.auth_status::text as status from %s as w '
                'where w.id = any ($1) and w.auth_status::text is distinct from ($2)[array_position($1, w.id)] '
                'order by w.id for no key update skip locked) as l', relation)),
            ids, wanted)
            into locked, statuses;
    end if;
    for i in 1 .. cardinality(ids) loop
        if (ids[i] = any (locked)) is not true then
            others := others || places[i];
        else
            status := statuses[array_position(locked, ids[i])];
            if status is distinct from tried[places[i]].status then
                as_expected := false;
                work[places[i]].status := status;
            end if;
        end if;
    end loop;
    if not as_expected then
        return work;
    elsif others <> '{}' then
        return auth_reconciler.look_at_others(relation, others, tried, work);
    end if;
    return null;
end
$body$;

comment on function auth_reconciler.lock_watched(text, auth_reconciler.proposal[], auth_reconciler.proposal[]) is
    'Locks the watched rows that will be written, and no other, and waits for none. Returns the batch as it is to be tried again, if one is not as was expected: its column says something else than when it was read, or see look_at_others().';

create or replace function auth_reconciler.fence_again(
    tried auth_reconciler.proposal[], work auth_reconciler.proposal[]
) returns auth_reconciler.proposal[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    changed constant integer[] := array(
        select p.ordinality
        from unnest(tried) with ordinality as p
        where auth_reconciler.stands(p.outcome) and exists (
            select
            from auth_reconciler.change as c
            where c.watched_id = (p.verdict).watched_id and c.instance_id = (p.verdict).instance_id and c.kept is not true
            offset 0
        ));
begin
    if changed = '{}' then
        return null;
    end if;
    for i in 1 .. cardinality(changed) loop
        work[changed[i]].outcome := 'change';
    end loop;
    return work;
end
$body$;

comment on function auth_reconciler.fence_again(auth_reconciler.proposal[], auth_reconciler.proposal[]) is
    'The batch as it is to be tried again, if something has changed beside what was read, which has been taken out of the log. Call it in a statement after the one that has locked the watched rows: of these nothing can change any more.';

create or replace function auth_reconciler.why_refused(
    relation text, written_by text, state text, context text, constraint_name text
) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    -- The words of a context are in the language of the server, and their order; the names of functions are the same in
    -- all. The server tells the innermost place first.
    innermost constant text := split_part(context, E'\n', 1);
    -- Something was called by our statement, or at its end.
    theirs constant boolean := split_part(context, written_by, 1) ~ E'\n'
        and innermost !~ '(^|[^a-z0-9_."])auth_reconciler\.write_statuses\(';
    -- Never the message, the detail or the rest of the context: they may hold the row, its key and its token. What is
    -- taken for a function is one.
    failed_in constant text := (
        select found.named[1]
        from regexp_matches(
            context, '((?:(?:[a-z_][a-z0-9_]*|"(?:[^"]|"")+")\.)?(?:[a-z_][a-z0-9_]*|"(?:[^"]|"")+")\([^()]*\))', 'g'
        ) with ordinality as found (named, place)
        where exists (
            select
            from pg_proc as p
            join pg_namespace as n on n.oid = p.pronamespace
            join pg_language as l on l.oid = p.prolang
            where l.lanname = 'plpgsql'
                and p.oid::regprocedure::text in (found.named[1], format('%I.%s', n.nspname, found.named[1]))
        )
        order by found.place
        limit 1
    );
begin
    -- What may pass, and what our own statement lacks: a right, or a column or table that was renamed. But what
    -- somebody raises does not pass, whatever state he gives it.
    if not (theirs and innermost ~ '(^|[^A-Za-z0-9_."])(RAISE|ASSERT)($|[^A-Za-z0-9_."(])')
        and (
            left(state, 2) in ('08', '25', '40', '53', '55', '57', '58', 'F0', 'XX')
            or (left(state, 2) = '42' and state <> '428C9' and not theirs)
        )
    then
        if theirs then
            -- Its own words may hold the row, and the server logs what leaves here.
            raise exception using errcode = state,
                message = format('a trigger, a check or a rule of table %s failed when auth_status was written', relation);
        end if;
        return null;
    end if;
    return case
        when state = '428C9' then 'it is a generated column'
        when constraint_name <> '' then format('constraint %s refuses it', constraint_name)
        when failed_in not like 'auth_reconciler.write_statuses(%' then format('trigger function %s fails', failed_in)
        when state = '22001' then 'its type is too short'
        when state = '23514' then 'no partition takes it'
        else 'a trigger, a check or a rule of the table fails'
    end || format(' (SQLSTATE %s)', state);
end
$body$;

comment on function auth_reconciler.why_refused(text, text, text, text, text) is
    'Why the table refuses a status, in words that hold nothing of the row; null for an error of our own statement, which may pass.';

create or replace function auth_reconciler.write_statement(relation text, ids uuid[], statuses text[]) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    update_rows constant text := format(
        'update %s as w set auth_status = ($2)[pg_catalog.array_position($1, w.id)], updated_at = localtimestamp '
        'where w.id operator(pg_catalog.=) any ($1) returning ',
        relation);
begin
    -- Nothing can loop over the rows of what is prepared, so those of many come as one. A rule of the table may forbid
    -- that: then its rows are written one by one.
    return format(
        'execute %I (%L, %L)',
        case when cardinality(ids) = 1 then auth_reconciler.prepared(
            'write', relation, '(uuid[], text[]) as ' || update_rows || 'array[w.id], array[w.auth_status::pg_catalog.text]')
        else auth_reconciler.prepared(
            'write_many', relation, '(uuid[], text[]) as with done as ('
            || update_rows || 'w.id, w.auth_status::pg_catalog.text as status) '
            'select pg_catalog.array_agg(done.id), pg_catalog.array_agg(done.status) from done')
        end,
        ids, statuses);
end
$body$;

comment on function auth_reconciler.write_statement(text, uuid[], text[]) is
    'Prepares the write of statuses to a watched table, and returns the statement that runs it.';

create or replace function auth_reconciler.write_statuses(
    statement text, out written_ids uuid[], out written text[]
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    kept_path constant text := current_setting('search_path');
    -- What is assigned to it is done without the executor, which `perform` calls.
    nothing text;
begin
    -- It only saves the triggers of other writes a look, see is_ours().
    nothing := set_config('auth_reconciler.writing', pg_current_xact_id()::text, true);
    -- The table's own triggers run in it, deferred ones too, and find what they name without its
    -- schema where the session would find it, not where our statements do.
    nothing := set_config(
        'search_path', coalesce(nullif(current_setting('auth_reconciler.session_path', true), ''), kept_path), true);
    -- Nothing is named in here until the path is ours again, but what is qualified.
    execute statement into written_ids, written;
    set constraints all immediate;
    nothing := pg_catalog.set_config('search_path', kept_path, true);
    nothing := set_config('auth_reconciler.writing', '', true);
end
$body$;

comment on function auth_reconciler.write_statuses(text) is
    'Writes auth_status of rows as our own write, by a statement of write_statement(), and returns what the triggers of the table have made of it. Call it behind the fence, in a block that catches what the table refuses: else the server would log the failing row with its key.';

create or replace function auth_reconciler.write_rows(
    relation text, tried auth_reconciler.proposal[], work auth_reconciler.proposal[]
) returns auth_reconciler.proposal[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    places integer[] := '{}';
    ids uuid[] := '{}';
    statuses text[] := '{}';
    wrote record;
    became text;
    as_expected boolean := true;
begin
    for place in 1 .. cardinality(tried) loop
        if tried[place].writes then
            places := places || place;
            ids := ids || (tried[place].verdict).instance_id;
            statuses := statuses || (tried[place].verdict).auth_status;
        end if;
    end loop;
    if ids = '{}' then
        return null;
    end if;
    wrote := auth_reconciler.write_statuses(auth_reconciler.write_statement(relation, ids, statuses));
    for i in 1 .. cardinality(ids) loop
        -- A BEFORE trigger of somebody else may have replaced the value, or stopped the write.
        became := wrote.written[array_position(wrote.written_ids, ids[i])];
        if became is distinct from statuses[i] and (
            tried[places[i]].outcome <> 'overridden' or became is distinct from tried[places[i]].written)
        then
            as_expected := false;
            work[places[i]].outcome := 'overridden';
            work[places[i]].written := became;
        elsif became = statuses[i] and tried[places[i]].outcome <> 'written' then
            as_expected := false;
            work[places[i]].outcome := 'written';
        end if;
    end loop;
    return case when not as_expected then work end;
end
$body$;

comment on function auth_reconciler.write_rows(text, auth_reconciler.proposal[], auth_reconciler.proposal[]) is
    'Writes the statuses of a batch where they differ; their rows are locked. Returns the batch as it is to be tried again, if the triggers of the table have made something else of one than was expected.';

comment on column auth_reconciler.instance.writing is
    'The id of the transaction that recorded last, if it wrote auth_status: by it our triggers know, in that transaction, our own write.';
