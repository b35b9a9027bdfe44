//! deploy/grants.sql: the daemon's role can do all that the daemon does, holds nothing that it can do without, and
//! nobody else may do anything.
//!
//! Role names are fixed, so each test has a server of its own.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use auth_reconciler_tests::connection_url;
use auth_reconciler_tests::daemon::{Daemon, SERVING, run_command};
use auth_reconciler_tests::postgres::{Cluster, ClusterOptions, program};
use auth_reconciler_tests::stub::{Behaviour, Stub};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use super::value;
use crate::scene::{ALL_TRUE, Scene, eventually};

mod held;
mod paths;
mod revoked;

use held::held;

const GRANTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/grants.sql");

pub(crate) struct Granted {
    pub(crate) scene: Scene,
    pub(crate) daemon_url: String,
    pub(crate) reader_url: String,
    _cluster: Cluster,
}

impl Granted {
    /// A server on which nobody may use `public` unless told so, with the schema, and the grants made twice.
    pub(crate) async fn start() -> Result<Self> {
        let cluster = Cluster::start(ClusterOptions::default()).await?;
        let scene = Scene::on(&cluster.url("postgres")).await?;
        scene
            .manager
            .batch_execute("revoke all on schema public from public; create role nobody login")
            .await?;
        scene.migrate().await?;
        for _ in 0..2 {
            let output = Command::new(program("psql")?)
                .args(["-X", "-q", "-d", scene.url(), "-f", GRANTS])
                .output()?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "grants.sql failed: {said}");
        }
        scene
            .manager
            .batch_execute("alter role auth_reconciler_reader login")
            .await?;
        Ok(Self {
            daemon_url: connection_url::with_user(scene.url(), "auth_reconciler", None)?,
            reader_url: connection_url::with_user(scene.url(), "auth_reconciler_reader", None)?,
            scene,
            _cluster: cluster,
        })
    }
}

#[tokio::test]
async fn the_daemon_serves_as_that_role() -> Result<()> {
    let granted = Granted::start().await?;
    let (scene, url) = (&granted.scene, &granted.daemon_url);
    let doctor = run_command(url, &["doctor"], &[]).await?;
    ensure!(doctor.code == Some(0), "{}", doctor.stdout);
    ensure!(
        doctor.stdout.contains("the role lacks no right"),
        "{}",
        doctor.stdout
    );
    let stub = Stub::start(Behaviour::Ready).await?;
    let first = Daemon::spawn(url, &["run"], &[])?;
    first.wait_message(SERVING).await?;
    let second = Daemon::spawn(url, &["run"], &[])?;
    second
        .wait_message("standing by: another process leads")
        .await?;
    let (table, manager) = (&scene.table, &scene.manager);
    let (stays, goes) = (
        scene.instance(stub.port()).await?,
        scene.instance(stub.port()).await?,
    );
    scene.eventually(ALL_TRUE).await?;
    table.write_status(manager, stays, Some("failed")).await?;
    scene.eventually(ALL_TRUE).await?;
    table.delete(manager, goes).await?;
    scene
        .eventually("select count(*) = 1 from auth_reconciler.instance")
        .await?;
    // A change that could not be logged, and everything after it.
    manager
        .batch_execute("notify auth_reconciler, 'resync'")
        .await?;
    manager
        .batch_execute("notify auth_reconciler, 'not understood'")
        .await?;
    first.sigkill()?;
    second.wait_message(SERVING).await?;
    let operator = auth_reconciler_tests::database::connect(url).await?;
    for action in [
        format!("pause('{stays}', 'by hand')"),
        format!("resume('{stays}')"),
        format!("reconcile('{stays}')"),
        "reconcile_all()".to_owned(),
    ] {
        value::<String>(&operator, &format!("select auth_reconciler.{action}")).await?;
    }
    scene.eventually(ALL_TRUE).await?;
    manager
        .batch_execute("truncate public.message_instances")
        .await?;
    scene
        .eventually("select not exists (select from auth_reconciler.instance)")
        .await?;
    let status = run_command(url, &["status"], &[]).await?;
    ensure!(status.code == Some(0), "{}", status.stderr);
    let failed =
        |line: &auth_reconciler_tests::daemon::LogLine| line.text.contains("permission denied");
    assert_eq!(first.count(failed) + second.count(failed), 0);
    Ok(())
}

/// The first of these that is denied. Whatever else is wrong with one is an error.
async fn denied(client: &Client, paths: &[(&'static str, String)]) -> Result<Option<&'static str>> {
    for (name, path) in paths {
        let done = client
            .batch_execute(&format!(
                "begin; set local search_path = pg_catalog, pg_temp; {path}"
            ))
            .await;
        client.batch_execute("rollback").await?;
        match done {
            Ok(()) => {}
            Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
                return Ok(Some(name));
            }
            Err(error) => return Err(error).context(*name),
        }
    }
    Ok(None)
}

/// Takes every right away in turn; something named must be denied each time.
async fn every_right_is_needed(
    manager: &Client,
    role: &str,
    client: &Client,
    paths: &[(&'static str, String)],
) -> Result<()> {
    assert_eq!(denied(client, paths).await?, None, "with all rights");
    for right in held(manager, role).await? {
        let (revoke, grant) = (
            format!("revoke {right} from {role}"),
            format!("grant {right} to {role}"),
        );
        manager.batch_execute(&revoke).await.context(revoke)?;
        let denied = denied(client, paths).await.with_context(|| right.clone())?;
        assert!(denied.is_some(), "{role} can do without {right}");
        manager.batch_execute(&grant).await?;
    }
    Ok(())
}

#[tokio::test]
async fn every_right_of_the_daemon_is_needed() -> Result<()> {
    let granted = Granted::start().await?;
    let scene = &granted.scene;
    let (one, two, gone) = (
        scene.instance(1).await?,
        scene.instance(2).await?,
        Uuid::new_v4(),
    );
    let fill = |text: &str| {
        text.replace("{one}", &one.to_string())
            .replace("{two}", &two.to_string())
            .replace("{gone}", &gone.to_string())
    };
    let script = "
        insert into auth_reconciler.leadership values (true, gen_random_uuid(), 1, 1, now(), now());
        insert into auth_reconciler.instance
            (watched_id, instance_id, version, generation, auth_status, reason, message, since, settled, cause,
             reaction_ms, recorded_at, looks, attempts, misses, corrections_spent, contested)
        select 1, id::uuid, gen_random_uuid(), 0, 'client_ready', 'Ready', '', now(), true, 'watch', 1, now(), 1, 0, 0, 0, 0
        from unnest(array['{one}', '{gone}']) as id;
        insert into auth_reconciler.change (watched_id, instance_id, cause) values
            (1, '{gone}', 'drift'), (1, '{gone}', 'delete'), (1, null, 'truncate');
        insert into auth_reconciler.pause values (1, '{gone}', 'why', 'who', now());
        insert into auth_reconciler.owed (watched_id, name, work) values (1, 'one', 'watch'), (2, 'two', 'unwatch')";
    scene.manager.batch_execute(&fill(script)).await?;
    let oid: u32 = value(
        &scene.manager,
        "select 'public.message_instances'::regclass::oid",
    )
    .await?;
    let paths: Vec<_> = paths::main_paths(oid)
        .into_iter()
        .map(|(name, path)| (name, fill(&path)))
        .collect();
    let client = auth_reconciler_tests::database::connect(&granted.daemon_url).await?;
    every_right_is_needed(&scene.manager, "auth_reconciler", &client, &paths).await
}

/// What a reader may ask, by name.
fn questions(id: Uuid) -> Vec<(&'static str, String)> {
    let views = [
        "backlog",
        "days",
        "drift",
        "drift_details",
        "drift_total",
        "help",
        "history",
        "instances",
        "last_day",
        "latency",
        "overview",
        "problem_details",
        "problems",
        "reconciler_details",
        "reconcilers",
        "status",
        "tables",
        "totals",
        "transitions",
    ];
    let mut questions: Vec<_> = views
        .into_iter()
        .map(|view| (view, format!("select * from auth_reconciler.{view}")))
        .collect();
    questions.push((
        "watch",
        "select auth_reconciler.begin_watching()".to_owned(),
    ));
    questions.push((
        "explain",
        format!("select * from auth_reconciler.explain('{id}')"),
    ));
    questions
}

/// What members of the daemon's role may do on their own.
fn actions(id: Uuid) -> [String; 4] {
    [
        format!("select auth_reconciler.reconcile('{id}')"),
        "select auth_reconciler.reconcile_all()".to_owned(),
        format!("select auth_reconciler.pause('{id}', 'why')"),
        format!("select auth_reconciler.resume('{id}')"),
    ]
}

/// What else a reader may not do.
fn kept_from_readers(id: Uuid) -> [String; 7] {
    [
        format!("select auth_reconciler.ask(1, '{id}', 'why')"),
        "select auth_reconciler.watch('public.message_instances')".to_owned(),
        "select auth_reconciler.guard('public.message_instances', true)".to_owned(),
        "select auth_reconciler.unwatch('public.message_instances')".to_owned(),
        "select * from auth_reconciler.instance".to_owned(),
        "select * from public.message_instances".to_owned(),
        "select auth_reconciler.take_over(gen_random_uuid())".to_owned(),
    ]
}

async fn all_denied(client: &Client, statements: impl IntoIterator<Item = &String>) {
    for statement in statements {
        let failed = client.batch_execute(statement).await.err();
        let code = failed.as_ref().and_then(tokio_postgres::Error::code);
        assert_eq!(code, Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{statement}");
    }
}

#[tokio::test]
async fn a_reader_reads_and_nothing_else_and_nobody_else_anything() -> Result<()> {
    let granted = Granted::start().await?;
    let scene = &granted.scene;
    let id = scene.instance(1).await?;
    let questions = questions(id);
    let reader = auth_reconciler_tests::database::connect(&granted.reader_url).await?;
    every_right_is_needed(
        &scene.manager,
        "auth_reconciler_reader",
        &reader,
        &questions,
    )
    .await?;

    let nobody = connection_url::with_user(scene.url(), "nobody", None)?;
    let nobody = auth_reconciler_tests::database::connect(&nobody).await?;
    let actions = actions(id);
    for client in [&reader, &nobody] {
        all_denied(client, &actions).await;
        all_denied(client, &kept_from_readers(id)).await;
    }
    all_denied(&nobody, questions.iter().map(|(_, question)| question)).await;
    eventually(
        &scene.manager,
        "select not exists (select from auth_reconciler.pause)",
    )
    .await?;
    // Whoever is a member of the daemon's role may act.
    scene
        .manager
        .batch_execute("grant auth_reconciler to nobody")
        .await?;
    for action in &actions {
        value::<String>(&nobody, action).await?;
    }
    Ok(())
}
