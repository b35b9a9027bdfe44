//! A status that the table refuses: an outcome with a name, told once, tried again rarely, foreseen where the catalog
//! shows it; and nothing of the row in the server's log.

use anyhow::{Context, Result, ensure};
use auth_reconciler_tests::daemon::{Daemon, run_command};
use auth_reconciler_tests::postgres::{Cluster, ClusterOptions};
use auth_reconciler_tests::stub::{Behaviour, Stub};
use uuid::Uuid;

use crate::scene::Scene;

/// How the daemon says it.
pub(crate) const REFUSED: &str = "the table refuses the status; correct the table or unwatch it";

const SECRET: &str = "Zq8sR4-a-key-that-nobody-may-log";

/// What is done to the table, what `problems` says of it, and whether the catalog shows it beforehand.
const TABLES: [(&str, &str, bool); 11] = [
    (
        "alter table public.message_instances add constraint few check (auth_status in ('pending', 'failed'))",
        "constraint few refuses it (SQLSTATE 23514)",
        true,
    ),
    (
        "alter table public.message_instances add constraint odd check (auth_status <> 'client_ready' or port_api < 0)",
        "constraint odd refuses it (SQLSTATE 23514)",
        false,
    ),
    (
        "alter table public.message_instances alter auth_status type varchar(10)",
        "its type is too short (SQLSTATE 22001)",
        true,
    ),
    (
        "alter table public.message_instances drop auth_status;
         alter table public.message_instances add auth_status varchar(50) generated always as ('pending') stored",
        "it is a generated column (SQLSTATE 428C9)",
        true,
    ),
    (
        "create unique index one_ready on public.message_instances (auth_status) where auth_status = 'client_ready';
         insert into public.message_instances (id, provider, auth_status, token)
            values (gen_random_uuid(), 'of the future', 'client_ready', 'Zq8sR4-token')",
        "constraint one_ready refuses it (SQLSTATE 23505)",
        false,
    ),
    (
        "create function public.hostile() returns trigger language plpgsql as
            $$ begin raise exception 'no: %', new using detail = new::text, hint = new::text; end $$;
         create trigger hostile before update on public.message_instances
            for each row execute function public.hostile()",
        "trigger function hostile() fails (SQLSTATE P0001)",
        false,
    ),
    (
        "create function public.late() returns trigger language plpgsql as
            $$ begin insert into nowhere values (new.token); return null; end $$;
         create constraint trigger late after update on public.message_instances deferrable initially deferred
            for each row execute function public.late()",
        "trigger function late() fails (SQLSTATE 42P01)",
        false,
    ),
    (
        "create function public.cast_it() returns trigger language plpgsql as
            $$ begin new.port_mcp := new.api_key::pg_catalog.int4; return new; end $$;
         create trigger cast_it before update on public.message_instances
            for each row execute function public.cast_it()",
        "trigger function cast_it() fails (SQLSTATE 22P02)",
        false,
    ),
    // States that `exception when others` does not catch, and one that otherwise means that it may pass.
    (
        "create function public.asserts() returns trigger language plpgsql as
            $$ begin assert new.auth_status <> 'client_ready', new::text; return new; end $$;
         create trigger asserts before update on public.message_instances
            for each row execute function public.asserts()",
        "trigger function asserts() fails (SQLSTATE P0004)",
        false,
    ),
    (
        "create function public.cancels() returns trigger language plpgsql as
            $$ begin raise query_canceled using message = new::text; end $$;
         create trigger cancels before update on public.message_instances
            for each row execute function public.cancels()",
        "trigger function cancels() fails (SQLSTATE 57014)",
        false,
    ),
    (
        "create function public.later() returns trigger language plpgsql as
            $$ begin raise object_not_in_prerequisite_state using message = new::text, detail = new.token; end $$;
         create trigger later before update on public.message_instances
            for each row execute function public.later()",
        "trigger function later() fails (SQLSTATE 55000)",
        false,
    ),
];

/// An instance whose key and token nobody may log.
async fn secretive(scene: &Scene, port: u16) -> Result<Uuid> {
    let id = Uuid::new_v4();
    scene
        .manager
        .execute(
            "insert into public.message_instances (id, provider, port_api, api_key, token)
             values ($1, 'telegram', $2, $3::text, $3::text)",
            &[&id, &i32::from(port), &SECRET],
        )
        .await?;
    Ok(id)
}

/// An operator sees that its status cannot be written, why, and that it is tried again in a minute.
async fn is_a_problem(scene: &Scene, id: Uuid, told: &str) -> Result<()> {
    let row = scene
        .manager
        .query_one(
            "select problem, replace(why, e'\\n', ' '),
                extract(epoch from i.next_attempt_at - i.recorded_at)::float8, i.trouble
             from auth_reconciler.problem_details as p join auth_reconciler.instances as i using (id) where id = $1",
            &[&id],
        )
        .await?;
    let (problem, why): (String, String) = (row.get(0), row.get(1));
    ensure!(problem == "Unwritable", "{told}: {problem}: {why}");
    ensure!(why.contains(told), "{why} instead of {told}");
    let pause: f64 = row.get(2);
    ensure!((pause - 60.0).abs() < 0.1, "tried again after {pause} s");
    ensure!(row.get::<_, bool>(3), "{told}: in trouble");
    Ok(())
}

#[tokio::test]
async fn what_the_table_refuses_is_told_and_nothing_of_the_row_reaches_the_servers_log()
-> Result<()> {
    let options = ClusterOptions::default().set("log_min_messages", "info");
    let cluster = Cluster::start(options).await?;
    each_is_told(&cluster, false).await
}

/// The words around the name of a function are in the language of the server.
#[tokio::test]
async fn what_the_table_refuses_is_told_in_whatever_language_the_server_speaks() -> Result<()> {
    let options = ClusterOptions::default()
        .language("de")
        .set("log_min_messages", "info");
    let cluster = Cluster::start(options).await?;
    is_a_warning(&cluster).await?;
    each_is_told(&cluster, true).await
}

/// What `watch` warns of is told as a warning, and what the server merely mentions is not.
async fn is_a_warning(cluster: &Cluster) -> Result<()> {
    let mut scene = Scene::on(&cluster.url("postgres")).await?;
    speak(&mut scene).await?;
    scene.manager.batch_execute(TABLES[0].0).await?;
    let done = run_command(scene.url(), &["migrate"], &[("RUST_LOG", "warn")]).await?;
    let told: Vec<&str> = done.stderr.lines().collect();
    ensure!(
        matches!(told[..], [line] if line.contains("check constraint few refuses")),
        "{told:?}"
    );
    Ok(())
}

/// As the server words them in English, French, Japanese and Chinese.
#[tokio::test]
async fn whose_function_fails_is_known_in_every_order_of_words() -> Result<()> {
    const FRAMES: [[&str; 2]; 4] = [
        ["PL/pgSQL function ", " line 3 at RAISE"],
        ["fonction PL/pgSQL ", ", ligne 3, à RAISE"],
        ["PL/pgSQL関数", "の3行目 - RAISE"],
        ["在RAISE的第3行的PL/pgSQL函数", ""],
    ];
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    scene
        .manager
        .batch_execute(
            "create schema \"Été\";
             create function \"Été\".\"refuse (it)\"() returns trigger language plpgsql as $$ begin return new; end $$",
        )
        .await?;
    let theirs = "\"Été\".\"refuse (it)\"()";
    let ours = "auth_reconciler.write_statuses(text,uuid[],text[])";
    for [before, after] in FRAMES {
        let frame = |function| format!("{before}{function}{after}");
        let inside = format!("{}\n«the statement»\n{}", frame(theirs), frame(ours));
        let told = why_refused(&scene, &inside, "55000").await?;
        let expected = format!("trigger function {theirs} fails (SQLSTATE 55000)");
        ensure!(told == Some(expected), "{before}: {told:?}");
        let told = why_refused(&scene, &frame(ours), "42501").await?;
        ensure!(told.is_none(), "{before}: it may pass, and is not {told:?}");
    }
    Ok(())
}

async fn why_refused(scene: &Scene, context: &str, state: &str) -> Result<Option<String>> {
    let asked = "select auth_reconciler.why_refused('public.t', 'the statement', $2, $1, '')";
    let told = scene.manager.query_one(asked, &[&context, &state]).await?;
    Ok(told.try_get(0)?)
}

/// Has a scene's database speak the language of its server. It may not be installed.
async fn speak(scene: &mut Scene) -> Result<()> {
    scene
        .manager
        .batch_execute(
            "do $$ begin execute format('alter database %I set lc_messages = ''C.UTF-8''', current_database()); end $$",
        )
        .await?;
    scene.manager = scene.database.client().await?;
    let error = scene.manager.batch_execute("select 1 / 0").await;
    let error = error.err().context("it divides")?;
    let told = error.as_db_error().context("the server said it")?.message();
    if told == "division by zero" {
        eprintln!("this server has no translations: it is tried in English");
    }
    Ok(())
}

async fn each_is_told(cluster: &Cluster, translated: bool) -> Result<()> {
    for (change, told, foreseen) in TABLES {
        let mut scene = Scene::on(&cluster.url("postgres")).await?;
        if translated {
            speak(&mut scene).await?;
        }
        scene.manager.batch_execute(change).await?;
        let stub = Stub::start(Behaviour::Ready).await?;
        let id = secretive(&scene, stub.port()).await?;
        let daemon = Daemon::start(&scene.database, &[]).await?;
        daemon
            .wait_line(0, told, |line| line.is(REFUSED) && line.has("why", told))
            .await?;
        is_a_problem(&scene, id, told).await?;
        ensure!(
            !cluster.log().contains(&SECRET[..6]),
            "{told}: in the server's log"
        );
        ensure!(!daemon.output().contains(&SECRET[..6]), "{told}: in ours");

        // A second try that an event leads to: once, with a longer pause, not over and over.
        scene.looked_at(&daemon, id).await?;
        let pause: f64 = scene
            .value(&format!(
                "select extract(epoch from next_attempt_at - recorded_at)::float8 from auth_reconciler.instances where id = '{id}'"
            ))
            .await?;
        ensure!((pause - 120.0).abs() < 0.1, "then after {pause} s");
        let said = daemon.count(|line| line.is(REFUSED));
        ensure!(said == 1, "{told}: said {said} times");
        ensure!(
            stub.counts().total() <= 3,
            "{told}: {} probes",
            stub.counts().total()
        );
        let done = run_command(scene.url(), &["doctor"], &[]).await?;
        let shown = done.stdout.contains("FAIL  writable");
        ensure!(shown == foreseen, "{told}: {}", done.stdout);
        ensure!(
            !cluster.log().contains(&SECRET[..6]),
            "{told}: in the server's log"
        );
    }
    Ok(())
}

#[tokio::test]
async fn it_is_written_once_the_table_is_mended_and_foreseen_when_it_is_watched() -> Result<()> {
    let scene = Scene::shared().await?;
    scene.manager.batch_execute(TABLES[0].0).await?;
    let done = run_command(scene.url(), &["migrate"], &[]).await?;
    ensure!(
        done.stderr
            .contains("check constraint few refuses qr_ready, authenticated, client_ready"),
        "watch said nothing: {}",
        done.stderr
    );
    let stub = Stub::start(Behaviour::Ready).await?;
    let id = scene.instance(stub.port()).await?;
    let daemon = Daemon::start(&scene.database, &[]).await?;
    daemon.wait_message(REFUSED).await?;
    scene
        .manager
        .batch_execute("alter table public.message_instances drop constraint few")
        .await?;
    scene.looked_at(&daemon, id).await?;
    scene
        .eventually(&format!(
            "select auth_status = 'client_ready' from public.message_instances where id = '{id}'"
        ))
        .await?;
    scene
        .eventually("select not exists (select from auth_reconciler.problem_details)")
        .await
        .context("nothing is left of it")
}

/// Who watches a table may be a superuser, and who owns it is not.
#[tokio::test]
async fn foreseeing_runs_nothing_that_the_owner_of_the_table_made() -> Result<()> {
    let scene = Scene::shared().await?;
    scene
        .manager
        .batch_execute(
            "create sequence public.called;
             create function public.spy(text) returns boolean language sql
                 as $$ select pg_catalog.nextval('public.called') < 0 $$;
             alter table public.message_instances
                 add constraint spies check (auth_status is null or public.spy(auth_status)) not valid",
        )
        .await?;
    let done = run_command(scene.url(), &["migrate"], &[]).await?;
    ensure!(done.code == Some(0), "{}", done.stderr);
    scene
        .eventually("select not is_called from public.called")
        .await
        .context("a function of the owner's was called")
}

/// A type of the owner's may bear the name of one of the server's, and a read would call its casts.
#[tokio::test]
async fn a_type_that_bears_only_the_name_of_the_servers_is_not_watched() -> Result<()> {
    let scene = Scene::shared().await?;
    scene
        .manager
        .batch_execute(
            "create schema own;
             create type own.varchar as enum ('pending');
             create sequence own.called;
             create function own.spy(own.varchar) returns text language sql
                 as $$ select pg_catalog.nextval('own.called')::text $$;
             create cast (own.varchar as text) with function own.spy(own.varchar) as assignment;
             alter table public.message_instances drop auth_status;
             alter table public.message_instances add auth_status own.varchar;
             insert into public.message_instances (id, auth_status) values (gen_random_uuid(), 'pending')",
        )
        .await?;
    let done = run_command(scene.url(), &["migrate"], &[]).await?;
    ensure!(
        done.stderr
            .contains("column auth_status is own.\"varchar\", not text"),
        "{}",
        done.stderr
    );
    scene
        .eventually("select not is_called from own.called")
        .await
        .context("a function of the owner's was called")
}
