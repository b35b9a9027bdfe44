//! Whoever may create in a schema of the path runs no code as us: every plain function, operator and type of the
//! server gets a shadow of the same signature in a schema that stands before it in the path of every session of the
//! database, and then everything that we have is run. Nothing is listed by hand: what is shadowed comes from the
//! catalog, what is run comes from the catalog, the commands and the exporter's file.

use anyhow::{Context, Result, ensure};
use auth_reconciler_tests::daemon::{Daemon, run_command};
use auth_reconciler_tests::stub::{Behaviour, Stub};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::scene::{KEY, Scene, eventually};

/// Each shadow leaves its number in a sequence, which no rollback and no handler takes back, and fails.
const SHADOWS: &str = r#"
    create schema evil;
    grant usage on schema evil to public;
    create sequence evil.bitten;
    create table evil.shadow (id int primary key, what text);
    create function evil.bite(n int) returns void language plpgsql set search_path = pg_catalog as $$ begin
        perform setval('evil.bitten', n);
        raise exception 'shadow % was called', n using errcode = 'XX666'; end $$;
    do $do$
    declare
        f record;
        n int := 1;
    begin
        -- Plain functions, with the very types of the original.
        for f in
            select p.oid::regprocedure::text as what, p.proname, pg_get_function_result(p.oid) as result,
                (
                    select string_agg(format_type(t.oid, null), ', ' order by t.place)
                    from unnest(p.proargtypes) with ordinality as t (oid, place)
                ) as arguments
            from pg_proc as p
            where p.pronamespace = 'pg_catalog'::regnamespace and p.prokind = 'f' and p.provariadic = 0
                and not p.proretset
                and not p.proargtypes::oid[] && array['internal', 'cstring', '"any"', 'trigger', 'event_trigger']::regtype[]::oid[]
                and not array['internal', 'cstring', 'trigger', 'event_trigger', 'language_handler', 'fdw_handler',
                    'index_am_handler', 'tsm_handler', 'table_am_handler', 'record']::regtype[]::oid[] @> array[p.prorettype]
                and (p.prorettype <> all (array['anyelement', 'anyarray', 'anynonarray', 'anyenum', 'anyrange',
                    'anymultirange', 'anycompatible', 'anycompatiblearray', 'anycompatiblerange',
                    'anycompatiblemultirange']::regtype[]::oid[]) or p.pronargs > 0)
        loop
            begin
                execute format(
                    'create function evil.%I(%s) returns %s language plpgsql as $f$ begin perform evil.bite(%s); end $f$',
                    f.proname, coalesce(f.arguments, ''), f.result, n);
                insert into evil.shadow values (n, f.what);
                n := n + 1;
            -- A few have a result that plpgsql cannot have.
            exception when feature_not_supported or invalid_function_definition then null;
            end;
        end loop;
        -- What takes any number of values of any type gets some that fit better.
        for f in
            select name, arguments
            from unnest(array['format', 'concat', 'concat_ws', 'jsonb_build_object', 'jsonb_build_array', 'to_jsonb',
                'coalesce', 'pg_typeof', 'quote_literal', 'num_nulls']) as name,
                unnest(array['text', 'text, text', 'text, regclass', 'text, text, text', 'text, name, name',
                    'text, text, text, text']) as arguments
        loop
            begin
                execute format(
                    'create function evil.%I(%s) returns text language plpgsql as $f$ begin perform evil.bite(%s); end $f$',
                    f.name, f.arguments, n);
                insert into evil.shadow values (n, f.name || '(' || f.arguments || ')');
                n := n + 1;
            exception when duplicate_function then null;
            end;
        end loop;
        for f in
            select o.oid::regoperator::text as what, o.oprname, o.oprleft, o.oprright,
                format_type(o.oprleft, null) as l, format_type(o.oprright, null) as r,
                format_type(o.oprresult, null) as result
            from pg_operator as o
            where o.oprnamespace = 'pg_catalog'::regnamespace and o.oprkind = 'b' and o.oprresult <> 0
                and o.oprleft not in ('"any"'::regtype, 'internal'::regtype)
        loop
            begin
                execute format(
                    'create function evil.op_%s(a %s, b %s) returns %s language plpgsql as '
                    '$f$ begin perform evil.bite(%1$s); end $f$',
                    n, f.l, f.r, f.result);
                execute format(
                    'create operator evil.%s (leftarg = %s, rightarg = %s, function = evil.op_%s)',
                    f.oprname, f.l, f.r, n);
                insert into evil.shadow values (n, 'operator ' || f.what);
                n := n + 1;
            exception when invalid_function_definition or feature_not_supported then null;
            end;
        end loop;
        -- Types that have no word in the grammar.
        for f in
            select t.typname, format_type(t.oid, null) as original
            from pg_type as t
            where t.typnamespace = 'pg_catalog'::regnamespace and t.typtype = 'b' and t.typelem = 0
                and t.typname in (
                    'text', 'uuid', 'jsonb', 'json', 'oid', 'regclass', 'regprocedure', 'regnamespace', 'regtype', 'name',
                    'int4', 'int8', 'bool', 'timestamptz', 'bytea', 'inet', 'int2', 'float8', 'xid', 'tid')
        loop
            execute format(
                'create domain evil.%I as pg_catalog.%I check (evil.bite(%s) is null)', f.typname, f.typname, n);
            insert into evil.shadow values (n, 'type ' || f.typname);
            n := n + 1;
        end loop;
        -- And every table or view of the catalog.
        for f in
            select c.relname from pg_class as c
            where c.relnamespace = 'pg_catalog'::regnamespace and c.relkind in ('r', 'v')
        loop
            execute format('create table evil.%I (bait int)', f.relname);
        end loop;
        execute format('alter database %I set search_path = evil, pg_catalog, public', current_database());
    end
    $do$;
"#;

/// The shadow that was called last, if any was.
const BITTEN: &str = "select s.what from evil.bitten as b join evil.shadow as s on s.id = b.last_value where b.is_called";

async fn nothing_bitten(scene: &Scene, after: &str) -> Result<()> {
    let bitten = scene.manager.query_opt(BITTEN, &[]).await?;
    let bitten: Option<String> = bitten.map(|row| row.get(0));
    ensure!(bitten.is_none(), "{after} called the shadow of {bitten:?}");
    Ok(())
}

/// A session in whose path the shadows stand first.
async fn victim(scene: &Scene) -> Result<Client> {
    let victim = scene.database.client().await?;
    let path: String = victim
        .query_one("show search_path", &[])
        .await?
        .try_get(0)?;
    ensure!(path.starts_with("evil"), "the path is {path}");
    Ok(victim)
}

#[tokio::test]
async fn the_shadows_fall() -> Result<()> {
    let scene = Scene::shared().await?;
    scene.manager.batch_execute(SHADOWS).await?;
    for unpinned in [
        "select 'public.message_instances'::pg_catalog.regclass = null::pg_catalog.regclass or true = true",
        "select now()",
        "select format('%s', 'a'::pg_catalog.text)",
        "select cardinality('{}'::pg_catalog.varchar[])",
        "select 'x'::text",
    ] {
        let victim = victim(&scene).await?;
        let bitten = victim.batch_execute(unpinned).await.err();
        let code = bitten.context("no shadow fell")?;
        ensure!(
            code.code().map(|code| code.code()) == Some("XX666"),
            "{unpinned}: {code:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn no_command_and_no_statement_of_ours_calls_what_stands_in_the_path() -> Result<()> {
    let scene = Scene::shared().await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    // A trigger of the manager's that finds what it names by the path of the session, and must go on doing so.
    scene
        .manager
        .batch_execute(
            "create function public.note_it() returns trigger language plpgsql as
                $$ begin perform pg_catalog.length(helper()); return new; end $$;
             create function public.helper() returns pg_catalog.text language sql return 'helped'::pg_catalog.text;
             create trigger note_it after update on public.message_instances
                for each row execute function public.note_it()",
        )
        .await?;
    scene.manager.batch_execute(SHADOWS).await?;
    let id = scene.instance(stub.port()).await?;
    scene.migrate().await?;
    nothing_bitten(&scene, "migrate").await?;
    scene.migrate().await?;
    nothing_bitten(&scene, "migrate once more").await?;

    let daemon = Daemon::start(&scene.database, &[("AUTH_RECONCILER_ECHO_INTERVAL", "1s")]).await?;
    let ready = format!(
        "select auth_status = 'client_ready' from public.message_instances where id = '{id}'"
    );
    eventually(&scene.manager, &ready).await?;
    looks(&scene, &daemon, id).await?;
    nothing_bitten(&scene, "a look").await?;
    for command in [&["doctor"][..], &["status"], &["status", "--json"]] {
        let done = run_command(scene.url(), command, &[]).await?;
        ensure!(
            done.code == Some(0),
            "{command:?}: {}{}",
            done.stdout,
            done.stderr
        );
        nothing_bitten(&scene, command[0]).await?;
    }
    let watching = Daemon::spawn(scene.url(), &["watch", "--json"], &[])?;
    let connected = |line: &auth_reconciler_tests::daemon::LogLine| {
        line.text.contains("\"event\":\"connected\"")
    };
    watching.wait_line(0, "the watcher", connected).await?;
    let write =
        format!("update public.message_instances set auth_status = 'failed' where id = '{id}'");
    scene.manager.batch_execute(&write).await?;
    let moved = |line: &auth_reconciler_tests::daemon::LogLine| {
        line.text.contains("\"event\":\"transition\"")
    };
    watching.wait_line(0, "a transition", moved).await?;
    nothing_bitten(&scene, "watch").await?;

    questions(&scene, id).await?;
    drop(watching);
    daemon.sigterm()?;
    daemon.ended().await?;
    nothing_bitten(&scene, "the daemon").await?;
    let done = run_command(scene.url(), &["uninstall", "--yes"], &[]).await?;
    ensure!(done.code == Some(0), "uninstall: {}", done.stderr);
    nothing_bitten(&scene, "uninstall").await
}

/// A look for each way to one: a foreign write, a row that comes and goes, everything, a truncation.
async fn looks(scene: &Scene, daemon: &Daemon, id: Uuid) -> Result<()> {
    let answered = "select not exists (select from auth_reconciler.change)";
    let gone = Uuid::new_v4();
    scene
        .table
        .insert(&scene.manager, gone, None, Some(KEY))
        .await?;
    for sql in [
        format!("update public.message_instances set auth_status = 'pending' where id = '{id}'"),
        format!("delete from public.message_instances where id = '{gone}'"),
        format!("select auth_reconciler.pause('{id}', 'why')"),
        format!("select auth_reconciler.resume('{id}')"),
        "select auth_reconciler.reconcile_all()".to_owned(),
        "notify auth_reconciler, 'resync'".to_owned(),
        "begin; create table kept as table public.message_instances; truncate public.message_instances;
         insert into public.message_instances select * from kept; drop table kept; commit"
            .to_owned(),
    ] {
        scene.manager.batch_execute(&sql).await?;
        eventually(&scene.manager, answered).await?;
    }
    scene.looked_at(daemon, id).await
}

/// What people and programs ask in a session whose path is not theirs alone: each view, each function that we have,
/// the manager's own writes, and the exporter's questions.
async fn questions(scene: &Scene, id: Uuid) -> Result<()> {
    let views = "select relname::text from pg_class
        where relnamespace = 'auth_reconciler'::regnamespace and relkind = 'v' order by 1";
    for row in scene.manager.query(views, &[]).await? {
        let view: String = row.get(0);
        let victim = victim(scene).await?;
        let asked = format!("select * from auth_reconciler.{view}");
        victim
            .batch_execute(&asked)
            .await
            .with_context(|| view.clone())?;
        nothing_bitten(scene, &view).await?;
    }
    // Whatever a function makes of such arguments: it calls nothing of the path.
    let functions = format!(
        "select p.oid::regprocedure::text, format('select auth_reconciler.%I(%s)', p.proname, (
            select string_agg(case t.oid::regtype::text
                when 'uuid' then quote_literal('{id}') when 'regclass' then quote_literal('public.message_instances')
                when 'integer' then '1' when 'bigint' then '1' when 'boolean' then 'true'
                when 'text' then '''share''' else 'null' end || '::pg_catalog.' || (
                    select quote_ident(y.typname) from pg_type as y where y.oid = t.oid), ', ' order by t.place)
            from unnest(p.proargtypes) with ordinality as t (oid, place)))
         from pg_proc as p
         where p.pronamespace = 'auth_reconciler'::regnamespace and p.prorettype <> 'trigger'::regtype
            and not p.proargtypes::oid[] && array['auth_reconciler.instance'::regtype::oid]
         order by p.proname in ('unwatch', 'detach'), p.proname"
    );
    for row in scene.manager.query(&functions, &[]).await? {
        let (name, call): (String, String) = (row.get(0), row.get(1));
        // A mistake in a call is its own business, unless a shadow made it; it is undone.
        let _ = victim(scene)
            .await?
            .batch_execute(&format!("begin; {call}; rollback"))
            .await;
        nothing_bitten(scene, &name).await?;
    }
    let victim = victim(scene).await?;
    victim
        .batch_execute(&format!(
            "select auth_reconciler.guard('public.message_instances', true);
             update public.message_instances set auth_status = 'failed', account = 'Name'
                where id operator(pg_catalog.=) '{id}';
             update public.message_instances set auth_status = 'failed' where id operator(pg_catalog.=) '{id}'"
        ))
        .await?;
    nothing_bitten(scene, "a write of the manager's").await?;
    let exporter = include_str!("../../../deploy/metrics/queries.yaml");
    let mut asked = 0;
    for part in exporter.split("  query: |\n").skip(1) {
        let query = part.split("  metrics:\n").next().context("a query")?;
        victim
            .batch_execute(query)
            .await
            .with_context(|| query.to_owned())?;
        nothing_bitten(scene, query).await?;
        asked += 1;
    }
    ensure!(asked > 5, "the exporter's file is read");
    Ok(())
}
