-- The write of statuses to a watched table, and what becomes of one that cannot succeed.

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

create or replace function auth_reconciler.write_statuses(
    relation text, ids uuid[], statuses text[], out written_ids uuid[], out written text[], out refusal text
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    kept_path constant text := current_setting('search_path');
    update_rows constant text := format(
        'update %s as w set auth_status = ($2)[pg_catalog.array_position($1, w.id)], updated_at = localtimestamp '
        'where w.id operator(pg_catalog.=) any ($1) returning ',
        relation);
    change_statuses text;
    failed text;
    failed_in text;
    failed_constraint text;
    -- What is assigned to it is done without the executor, which `perform` calls.
    nothing text;
begin
    -- Caught here, or the server would log the failing row with its key.
    begin
        -- Nothing can loop over the rows of what is prepared, so those of many come as one. A rule of the table may forbid
        -- that: then its rows are written one by one.
        change_statuses := format(
            'execute %I (%L, %L)',
            case when cardinality(ids) = 1 then auth_reconciler.prepared(
                'write', relation, '(uuid[], text[]) as ' || update_rows || 'array[w.id], array[w.auth_status::pg_catalog.text]')
            else auth_reconciler.prepared(
                'write_many', relation, '(uuid[], text[]) as with done as ('
                || update_rows || 'w.id, w.auth_status::pg_catalog.text as status) '
                'select pg_catalog.array_agg(done.id), pg_catalog.array_agg(done.status) from done')
            end,
            ids, statuses);
        -- It only saves the triggers of other writes a look, see is_ours().
        nothing := set_config('auth_reconciler.writing', pg_current_xact_id()::text, true);
        -- The table's own triggers run in it, deferred ones too, and find what they name without its
        -- schema where the session would find it, not where our statements do.
        nothing := set_config(
            'search_path',
            coalesce(nullif(current_setting('auth_reconciler.session_path', true), ''), kept_path),
            true);
        -- Nothing is named in here until the path is ours again, but what is qualified.
        execute change_statuses into written_ids, written;
        set constraints all immediate;
        nothing := pg_catalog.set_config('search_path', kept_path, true);
        nothing := set_config('auth_reconciler.writing', '', true);
    -- OTHERS has neither of the first two, and a trigger may end with either.
    exception when query_canceled or assert_failure or others then
        written_ids := null;
        written := null;
        if cardinality(ids) > 1 then
            -- Whose fault it is, and what he does not get for it, is found out by himself.
            refusal := 'together';
            return;
        end if;
        get stacked diagnostics failed = returned_sqlstate, failed_in = pg_exception_context,
            failed_constraint = constraint_name;
        refusal := auth_reconciler.why_refused(relation, change_statuses, failed, failed_in, failed_constraint);
        if refusal is null then
            raise;
        end if;
    end;
end
$body$;

comment on function auth_reconciler.write_statuses(text, uuid[], text[]) is
    'Writes auth_status of rows as our own write. What the table makes of it: the values that were written, what refused the one of a single row, or "together" where not all of them can be written at once. Call it behind the fence.';

create or replace function auth_reconciler.write(
    watched_id integer, relation text, inout work auth_reconciler.proposal[]
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
declare
    ids uuid[];
    statuses text[];
    wrote record;
    refusal text;
begin
    select array_agg((p.verdict).instance_id), array_agg((p.verdict).auth_status) into ids, statuses
    from unnest(work) as p where p.outcome is null and p.writes;
    if ids is not null then
        -- By this our triggers know the write as ours: it is taken back before the transaction ends, so nobody else
        -- ever sees it, and who may not write it cannot pretend.
        update auth_reconciler.instance as i
        set writing = m.status
        from (
            select r.ctid as found_at, w.status
            from unnest(ids, statuses) as w (id, status)
            -- Each is looked up for itself, see fence().
            cross join lateral (
                select r.ctid
                from auth_reconciler.instance as r
                where r.watched_id = write.watched_id and r.instance_id = w.id
                offset 0
            ) as r
        ) as m
        where i.ctid = m.found_at;
        wrote := auth_reconciler.write_statuses(relation, ids, statuses);
        refusal := wrote.refusal;
    end if;
    for place in 1 .. cardinality(work) loop
        continue when work[place].outcome is not null;
        if work[place].writes is not true then
            work[place].outcome := 'right';
        elsif refusal = 'together' then
            work[place].outcome := refusal;
            -- Nothing of it stays.
            delete from auth_reconciler.instance as i
            where i.watched_id = write.watched_id and i.instance_id = (work[place].verdict).instance_id
                and (work[place].verdict).version is null;
            update auth_reconciler.instance as i
            set writing = null
            where i.watched_id = write.watched_id and i.instance_id = (work[place].verdict).instance_id;
        elsif refusal is not null then
            work[place].outcome := 'unwritable: ' || refusal;
        else
            work[place].written := wrote.written[array_position(wrote.written_ids, (work[place].verdict).instance_id)];
            -- A BEFORE trigger of somebody else may have replaced the value, or stopped the write.
            work[place].outcome := case
                when work[place].written is distinct from (work[place].verdict).auth_status then 'overridden'
                else 'written' end;
        end if;
    end loop;
end
$body$;

comment on function auth_reconciler.write(integer, text, auth_reconciler.proposal[]) is
    'Writes the statuses of a batch where they differ, behind the fence. Outcomes: written, right (it was so already), overridden (a trigger of the table replaced it), unwritable: and what of the table refuses it, together (nothing was done, for one of several cannot be written).';
